"""The base of all augmentations."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from sparring.randomness import Draws


class Augment(nn.Module, ABC):
    """Base of all augmentations. What is drawn is a function of (seed, iteration, turn, purpose, index of the image).

    Attributes:
        schedule: factor of its strength as a function of kimg; None for a constant strength.
    """

    schedule: Callable[[float], float] | None = None

    @abstractmethod
    def forward(self, images: Tensor, draws: Draws, purpose: str, factor: float | Tensor = 1.0) -> Tensor:
        """Return augmented images, of the same shape (batch, C, H, W) in [-1, 1], differentiable twice.

        Values may leave that range, as in the published codes.

        Args:
            images: what D is shown.
            draws: the random numbers of the turn, as many as images.
            purpose: what these images are; the same purpose in a turn is augmented in the same way.
            factor: of its strength, what ``schedule`` gives now.

        Raises:
            ValueError: these are not images, or not as many as there are draws.
        """

    def notes(self, factor: float | Tensor = 1.0) -> dict[str, Tensor]:
        """Return scalars () to be logged, by name."""
        return {}

    def observe(self, real_logits: Tensor, reals: int) -> None:
        """Take note of D's logits of so many augmented reals; called for every micro-batch of the discriminator."""

    def check_fits(self, data: Tensor) -> None:
        """Raise ValueError, before training, if these examples (N, ...) can't be augmented."""
        check_images(data)

    def after(self) -> None:
        """Follow the discriminator's update; called without gradient."""


def check_images(images: Tensor, draws: Draws | None = None) -> None:
    """Raise ValueError for what is no batch of images, or has another length than ``draws``."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            "only images (batch, 1 or 3, H, W) can be flipped, shifted, coloured ...; "
            f"these data are {tuple(images.shape)}"
        )
    if draws is not None and len(images) != len(draws):
        raise ValueError(
            f"{len(images)} images are augmented with draws for {len(draws)}: one for each image is needed"
        )
