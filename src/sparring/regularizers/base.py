"""What every regularizer is."""

from collections.abc import Hashable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from sparring.games.turn import Turn
from sparring.training.schedules import Schedule, at

if TYPE_CHECKING:
    from sparring.games.game import Game


class Regularizer(nn.Module):
    """Base of all regularizers.

    Args:
        weight: factor of its term.
        every: iterations between two uses.
        schedule: factor of the weight as a function of kimg; None for a constant weight.

    Attributes:
        player: whose turn it joins.
        needs_reals: its player must be shown real data; the discriminator is anyway.
        reads_features: it reads D's features, of which the logits are then made, too.
        needs_latents: it moves the generator's latents or draws others.
        couples_batch: its value depends on which examples come together, so that ranks differ from one process.
    """

    player = "discriminator"
    needs_reals = False
    reads_features = False
    needs_latents = False
    couples_batch = False

    def __init__(self, weight: float = 1.0, every: int = 1, schedule: Schedule | None = None):
        super().__init__()
        if every < 1:
            raise ValueError(f"every={every}: a regularizer is used every 1, 2, ... iterations")
        self.weight = weight
        self.every = every
        self.schedule = schedule

    def weight_at(self, turn: Turn) -> float | Tensor:
        """The factor of its term in this turn."""
        return self.weight if self.schedule is None else self.weight * at(self.schedule, turn.kimg)

    def phase(self, iteration: int, kimg: float) -> Hashable:
        """What of the clock decides which operations it consists of, besides ``every``: a captured iteration is replayed in
        those of the same phase.
        """
        return None

    def forward(self, turn: Turn) -> Tensor | None:
        """Its value, unreduced (batch,) or a scalar; None if it adds no term."""
        return None

    def choose(self, losses: Tensor, turn: Turn) -> Tensor:
        """Which of the generator's unreduced adversarial losses (batch,) count; by default all."""
        return losses

    def check_fits(self, game: "Game", data: Tensor) -> None:
        """Raise ValueError, before training starts, if it means nothing for this game or these examples (N, ...)."""
        if self.needs_latents and not hasattr(game, "latent_dim"):
            raise ValueError("it moves latents, and the generator of this model answers to an image: it has none")

    def after(self, turn: Turn) -> None:
        """Called without gradient after the player's update."""
