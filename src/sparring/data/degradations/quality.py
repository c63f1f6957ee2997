"""What costs quality and loses no pixel: noise, blur, fewer pixels."""

from typing import Literal

import torch
from torch import Tensor, nn

from sparring.data.degradations.base import Degradation, bounds
from sparring.data.padding import mirror_index
from sparring.randomness import Draws


class Noise(Degradation):
    """Gaussian noise, of its own in every number; what leaves [-1, 1] is clamped.

    Args:
        strength: its standard deviation as the publications give it, in levels of 8 bits (25 is 25/255 of the range),
            or [low, high]: drawn per image.
    """

    def __init__(self, strength: float | tuple[float, float] = 25.0):
        super().__init__()
        self.strength = bounds("strength", strength, 0, 255)

    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, None]:
        low, high = self.strength
        levels = low + (high - low) * draws.uniform("degradation noise strength", 1, 1, 1)
        noise = levels / 127.5 * draws.normal("degradation noise", *images.shape[1:])
        return (images + noise.to(images)).clamp(-1, 1), None


class Blur(Degradation):
    """A Gaussian blur, cut off at four standard deviations; beyond an edge lies the mirrored image.

    As matrices on rows and columns, one an image: exact in float32 where a GPU's convolutions are not by default.

    Args:
        sigma: standard deviation in pixels, or [low, high]: drawn per image.
    """

    def __init__(self, sigma: float | tuple[float, float] = 2.0):
        super().__init__()
        self.sigma = bounds("sigma", sigma, 0, 100)

    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, None]:
        low, high = self.sigma
        radius = int(4 * high + 0.5)
        sigma = (low + (high - low) * draws.uniform("degradation blur", 1, 1, 1)).clamp(min=1e-3).to(images)
        for axis in (2, 3):
            size = images.shape[axis]
            places = torch.arange(-radius, size + radius, device=images.device)
            distance = places - torch.arange(size, device=images.device)[:, None]
            kernel = (distance / sigma).square().div(-2).exp().masked_fill(distance.abs() > radius, 0)
            kernel = kernel / kernel.sum(3, keepdim=True)  # (batch, 1, size, size + 2 * radius)
            seen = images.index_select(axis, mirror_index(places, size))
            images = kernel @ seen if axis == 2 else seen @ kernel.mT
        return images.clamp(-1, 1), None


class Downscale(Degradation):
    """Fewer pixels by the antialiased bicubic filter with a = -0.5, as Pillow's, what overshoots [-1, 1] clamped.

    Args:
        scale: 2 or 4: by how much height and width are divided.
    """

    def __init__(self, scale: Literal[2, 4] = 4):
        super().__init__()
        if scale not in (2, 4):
            raise ValueError(f"scale={scale}: 2 or 4")
        self.scale = scale

    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, None]:
        size = tuple(self.image_size(size) for size in images.shape[2:])
        return nn.functional.interpolate(images, size, mode="bicubic", antialias=True).clamp(-1, 1), None

    def image_size(self, size: int) -> int:
        return size // self.scale

    def check_fits(self, size: int) -> None:
        if size % self.scale:
            raise ValueError(f"size={size}: not divisible by scale={self.scale}")
