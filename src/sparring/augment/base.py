"""What every augmentation is."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn

from sparring.randomness import Draws

if TYPE_CHECKING:
    from sparring.games.game import Game
    from sparring.games.turn import Turn


class Augment(nn.Module, ABC):
    """Base of all augmentations. What is drawn is a function of (seed, iteration, turn, purpose, index of the image)."""

    @abstractmethod
    def forward(self, images: Tensor, draws: Draws, purpose: str, kimg: float = 0.0) -> Tensor:
        """Augmented images, of the same shape (batch, C, H, W) in [-1, 1] and differentiable, twice.

        Values may leave that range, as in the published codes.

        Args:
            images: what D is shown.
            draws: the random numbers of the turn, as many as images.
            purpose: what these images are; the same purpose in a turn is augmented in the same way.
            kimg: the clock.

        Raises:
            ValueError: these are not images, or not as many as there are draws.
        """

    def notes(self, kimg: float) -> dict[str, Tensor]:
        """Scalars to be logged: what it is doing at the clock's ``kimg``."""
        return {}

    def observe(self, turn: "Turn") -> None:
        """Called in the discriminator's turn for every micro-batch, when its logits are known."""

    def check_fits(self, game: "Game", data: Tensor) -> None:
        """Raise ValueError, before training starts, if these examples (N, ...) can't be augmented."""
        check_images(data)

    def after(self, turn: "Turn") -> None:
        """Called without gradient after the discriminator's update."""


def check_images(images: Tensor, draws: Draws | None = None) -> None:
    """Refuse what cannot be changed as images are."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"only images (batch, 1 or 3, H, W) can be flipped, shifted, coloured ...; these data are {tuple(images.shape)}"
        )
    if draws is not None and len(images) != len(draws):
        raise ValueError(f"{len(images)} images are to be augmented by draws for {len(draws)}: one an image")
