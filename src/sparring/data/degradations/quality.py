"""Degradations that lose quality, but no pixels: noise, blur, fewer pixels."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sparring.data.degradations.base import Degradation, bounds
from sparring.data.padding import mirror_index
from sparring.randomness import Draws

Strength = Annotated[float, Field(ge=0, le=255)]
Sigma = Annotated[float, Field(ge=0, le=100)]


class Noise(Degradation):
    """Gaussian noise, independent in every pixel and channel; the result is clamped to [-1, 1].

    Args:
        strength: standard deviation in levels of 8 bits, as publications give it (25 is 25/255 of the range), or
            [low, high], drawn per image.
    """

    def __init__(self, strength: Strength | tuple[Strength, Strength] = 25.0):
        super().__init__()
        self.strength = bounds("strength", strength)

    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, None]:
        low, high = self.strength
        levels = low + (high - low) * draws.uniform("degradation noise strength", 1, 1, 1)
        noise = levels / 127.5 * draws.normal("degradation noise", *images.shape[1:])
        return (images + noise.to(images)).clamp(-1, 1), None


class Blur(Degradation):
    """A Gaussian blur, cut off at four standard deviations, of the image mirrored at its edges.

    By matrices on rows and columns, one an image: exact in float32, where a GPU's convolutions are not by default.

    Args:
        sigma: standard deviation in pixels, or [low, high], drawn per image.
    """

    def __init__(self, sigma: Sigma | tuple[Sigma, Sigma] = 2.0):
        super().__init__()
        self.sigma = bounds("sigma", sigma)

    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, None]:
        low, high = self.sigma
        radius = int(4 * high + 0.5)
        sigma = (low + (high - low) * draws.uniform("degradation blur", 1, 1, 1)).clamp(min=1e-3).to(images)
        for axis in (2, 3):
            size = images.shape[axis]
            positions = torch.arange(-radius, size + radius, device=images.device)
            distance = positions - torch.arange(size, device=images.device)[:, None]
            kernel = (distance / sigma).square().div(-2).exp().masked_fill(distance.abs() > radius, 0)
            kernel = kernel / kernel.sum(3, keepdim=True)  # (batch, 1, size, size + 2 * radius)
            padded = images.index_select(axis, mirror_index(positions, size))
            images = kernel @ padded if axis == 2 else padded @ kernel.mT
        return images.clamp(-1, 1), None


class Downscale(Degradation):
    """Fewer pixels by the antialiased bicubic filter with a = -0.5, as Pillow's, clamped to [-1, 1].

    Args:
        scale: by which height and width are divided.
    """

    def __init__(self, scale: Literal[2, 4] = 4):
        super().__init__()
        self.scale = scale

    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, None]:
        size = [self.image_size(size) for size in images.shape[2:]]
        return nn.functional.interpolate(images, size, mode="bicubic", antialias=True).clamp(-1, 1), None

    def image_size(self, size: int) -> int:
        return size // self.scale

    def check_fits(self, size: int) -> None:
        if size % self.scale:
            raise ValueError(f"size={size}: not divisible by scale={self.scale}")
