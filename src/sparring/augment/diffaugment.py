"""DiffAugment (Zhao et al. 2020)."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from sparring.augment.base import Augment, check_images
from sparring.augment.shifts import shift_with_zeros, to_whole
from sparring.randomness import Draws

Policy = Literal["color", "translation", "cutout"]


class DiffAugment(Augment):
    """Every image is changed, in the order of ``policies`` (Zhao et al. 2020, section 4.1 and their code).

    ``color``: brightness +-0.5, saturation times U(0, 2) (of colour images), contrast times U(0.5, 1.5) around the
    image's mean. ``translation``: whole pixels, up to an eighth of the size; new pixels are zero. ``cutout``: a square
    of half the size, centred anywhere in the image, becomes zero.

    Args:
        policies: some of the three.
    """

    def __init__(self, policies: Annotated[Sequence[Policy], Field(min_length=1)] = ("color", "translation", "cutout")):
        super().__init__()
        self.policies = tuple(policies)

    def forward(self, images: Tensor, draws: Draws, purpose: str, factor: float | Tensor = 1.0) -> Tensor:
        check_images(images, draws)
        changes = {"color": color, "translation": translation, "cutout": cutout}
        for policy in self.policies:
            uniform = draws.uniform(f"diffaugment {purpose} {policy}", 3)
            images = changes[policy](images.to(uniform.dtype), uniform)
        return images


def color(images: Tensor, uniform: Tensor) -> Tensor:
    """Change brightness, saturation and contrast by numbers in [0, 1), (batch, 3)."""
    brightness, saturation, contrast = uniform[:, :, None, None, None].unbind(1)
    images = images + brightness - 0.5
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey.expand_as(images), images, 2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def translation(images: Tensor, uniform: Tensor) -> Tensor:
    """Shift by up to an eighth of the size, by numbers in [0, 1), (batch, 2 or more)."""
    down, right = (to_whole(uniform[:, i], int(images.shape[2 + i] / 8 + 0.5)) for i in (0, 1))
    return shift_with_zeros(images, down, right)


def cutout(images: Tensor, uniform: Tensor) -> Tensor:
    """Set a rectangle of half the size to zero, its centre from numbers in [0, 1), (batch, 2 or more)."""
    outside = []
    for size, centre in zip(images.shape[2:], uniform.unbind(1), strict=False):
        cut = int(size / 2 + 0.5)
        start = (centre * (size + 1 - cut % 2)).long() - cut // 2
        pixels = torch.arange(size, device=images.device) - start[:, None]
        outside.append((pixels < 0) | (pixels >= cut))
    return images * (outside[0][:, None, :, None] | outside[1][:, None, None, :])
