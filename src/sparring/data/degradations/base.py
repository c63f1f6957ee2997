"""The base of all degradations: how clean images are damaged."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparring.randomness import Draws


class Degradation(nn.Module, ABC):
    """Base of all degradations. What is drawn is a function of (seed, iteration, turn, index of the image).

    Everything happens on the images' device without waiting for it, in float32 or better whatever the precision.
    """

    masks: bool = False  # whether it returns a mask, which is one more channel of the generator's input

    def forward(self, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor | None]:
        """Return damaged images, and where pixels are lost.

        Args:
            images: clean ones, (batch, C, H, W) in [-1, 1].
            draws: the random numbers of the turn, for as many images.

        Returns:
            Images (batch, C, ``image_size(H)``, ``image_size(W)``) in [-1, 1], not rounded to 8 bits, and the mask
            (batch, 1, H, W), 1 where a pixel is lost and 0 elsewhere; None if it never loses pixels (``masks`` false).

        Raises:
            ValueError: these are not images, not as many as there are draws, or of a size that does not fit.
        """
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(
                f"only images (batch, C, H, W) in [-1, 1] can be damaged, not {tuple(images.shape)}, {images.dtype}"
            )
        if len(images) != len(draws):
            raise ValueError(f"{len(images)} images need as many draws, not draws for {len(draws)}")
        for size in images.shape[2:]:
            self.check_fits(size)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 has fewer levels than an image
            return self.damage(images.to(torch.promote_types(images.dtype, torch.float32)), draws)

    @abstractmethod
    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor | None]:
        """Return what ``forward`` returns, for images that were checked."""

    def image_size(self, size: int) -> int:
        """Return the height or width of the damaged image, given the clean one's."""
        return size

    def check_fits(self, size: int) -> None:
        """Raise ValueError if images of that height or width can't be damaged."""


def bounds(name: str, value: float | Sequence[float]) -> tuple[float, float]:
    """Return (low, high) of a key that is one number, or two between which each image gets its own.

    Raises:
        ValueError: low is above high.
    """
    low, high = (value, value) if isinstance(value, int | float) else value
    if low > high:
        raise ValueError(f"{name}={value}: must be a number, or [low, high] with low at most high")
    return low, high


def choose_per_image(options: Sequence[Tensor], draws: Draws, purpose: str) -> Tensor:
    """Return for each image one of the ``options``, each (batch, ...), drawn with equal probability."""
    drawn = (draws.uniform(purpose) * len(options)).long().to(options[0].device)
    return torch.stack(tuple(options))[drawn, torch.arange(len(drawn), device=drawn.device)]
