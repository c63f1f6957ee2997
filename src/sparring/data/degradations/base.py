"""What every degradation is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparring.randomness import Draws


class Degradation(nn.Module, ABC):
    """Base of all degradations. What is drawn is a function of (seed, iteration, turn, index of the image).

    Everything happens on the images' device without waiting for it, in float32 or better whatever the precision.
    """

    masks: bool = False  # whether it returns a mask: one more channel for the network that mends

    def forward(self, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor | None]:
        """Damaged images and where pixels are lost.

        Args:
            images: clean ones, (batch, C, H, W) in [-1, 1].
            draws: the random numbers of the turn, as many as images.

        Returns:
            Images (batch, C, ``image_size(H)``, ``image_size(W)``) in [-1, 1], not rounded to 8 bits, and the mask
            (batch, 1, H, W), 1 where a pixel is lost and 0 elsewhere; None if it never loses pixels (``masks`` false).

        Raises:
            ValueError: these are not images, not as many as there are draws, or of a size that does not fit.
        """
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(
                f"only images (batch, C, H, W) in [-1, 1] can be damaged; these are {tuple(images.shape)}, {images.dtype}"
            )
        if len(images) != len(draws):
            raise ValueError(f"{len(images)} images are to be damaged by draws for {len(draws)}: one an image")
        for size in images.shape[2:]:
            self.check_fits(size)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 has fewer levels than an image
            return self.damage(images.to(torch.promote_types(images.dtype, torch.float32)), draws)

    @abstractmethod
    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor | None]:
        """What ``forward`` returns, of images that were checked."""

    def image_size(self, size: int) -> int:
        """Height or width of the damaged image of a clean one's."""
        return size

    def check_fits(self, size: int) -> None:
        """Raise ValueError if images of that height or width can't be damaged."""


def bounds(name: str, value: float | Sequence[float], least: float, most: float) -> tuple[float, float]:
    """(low, high) of a key that is one number, or two between which each image gets its own.

    Raises:
        ValueError: they are not in [least, most], or not in order.
    """
    low, high = (value, value) if isinstance(value, int | float) else value
    if not least <= low <= high <= most:
        raise ValueError(f"{name}={value}: a number from {least} to {most}, or two, [low, high], one drawn per image")
    return low, high


def one_each(options: Sequence[Tensor], draws: Draws, purpose: str) -> Tensor:
    """For each image that of the ``options``, each (batch, ...), which is drawn for it, all as likely."""
    drawn = (draws.uniform(purpose) * len(options)).long().to(options[0].device)
    return torch.stack(tuple(options))[drawn, torch.arange(len(drawn), device=drawn.device)]
