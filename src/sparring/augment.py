"""Differentiable augmentations of what a discriminator sees, reals and fakes alike."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn

from sparring.randomness import Draws

if TYPE_CHECKING:
    from sparring.play import Play


class Augment(nn.Module, ABC):
    """Base of all augmentations. What is drawn is a function of (seed, iteration, turn, purpose, index of the image)."""

    @abstractmethod
    def forward(self, images: Tensor, draws: Draws, purpose: str, kimg: float = 0.0) -> Tensor:
        """Augmented images, of the same shape (batch, C, H, W) in [-1, 1] and differentiable, twice.

        Args:
            images: what D is shown.
            draws: the random numbers of the turn.
            purpose: what these images are; the same purpose in a turn is augmented in the same way.
            kimg: the clock.
        """

    def after(self, play: "Play") -> None:
        """Called without gradient after the discriminator's update."""
