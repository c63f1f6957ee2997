"""What is added to an adversarial loss, or done after an update: a class an equation.

A regularizer joins one player's turn, every so many iterations with its weight multiplied by as many (lazy
regularisation, Karras et al. 2020, StyleGAN2), and returns its unreduced value (batch,), or None if it adds no term.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from sparring.play import Play

Schedule = Callable[[float], float]


class Regularizer(nn.Module):
    """Base of all regularizers.

    Args:
        weight: factor of its term.
        every: iterations between two uses.
        schedule: factor of the weight as a function of kimg; None for a constant weight.

    Attributes:
        player: whose turn it joins.
        couples_batch: its value depends on which examples come together, so that ranks differ from one process.
    """

    player = "discriminator"
    couples_batch = False

    def __init__(self, weight: float = 1.0, every: int = 1, schedule: Schedule | None = None):
        super().__init__()
        if every < 1:
            raise ValueError(f"every={every}: a regularizer is used every 1, 2, ... iterations")
        self.weight = weight
        self.every = every
        self.schedule = schedule

    def weight_at(self, play: Play) -> float:
        """The factor of its term in this turn."""
        return self.weight if self.schedule is None else self.weight * self.schedule(play.kimg)

    def forward(self, play: Play) -> Tensor | None:
        """Its value, unreduced (batch,) or a scalar; None if it adds no term."""
        return None

    def choose(self, losses: Tensor, play: Play) -> Tensor:
        """Which of the generator's unreduced adversarial losses (batch,) count; by default all."""
        return losses

    def after(self, play: Play) -> None:
        """Called without gradient after the player's update."""


class GradientPenalty(Regularizer):
    """(|grad D(x)| - 1)^2 at one uniform mix x of real and fake an example (Gulrajani et al. 2017, WGAN-GP, eq. 3)."""

    def __init__(self, weight: float = 10.0, every: int = 1):
        super().__init__(weight, every)

    def forward(self, play: Play) -> Tensor:
        share = play.draws.uniform("gradient_penalty", *[1] * (play.reals.ndim - 1))
        mixes = torch.lerp(play.fakes.detach().to(play.reals.dtype), play.reals, share)
        return (vector_norm(play.input_gradient(mixes, "mix"), dim=1) - 1).square()


class R1(Regularizer):
    """|grad D(x)|^2 / 2 on reals, weighted by gamma (Mescheder et al. 2018, eq. 9)."""

    def __init__(self, weight: float = 10.0, every: int = 1):
        super().__init__(weight, every)

    def forward(self, play: Play) -> Tensor:
        return play.input_gradient(play.reals, "real").square().sum(1) / 2


class WeightClipping(Regularizer):
    """Every weight of the discriminator is clamped to [-limit, limit] after its update (Arjovsky et al. 2017, WGAN)."""

    def __init__(self, limit: float = 0.01):
        super().__init__()
        if limit <= 0:
            raise ValueError(f"limit={limit}: weights are clamped to [-limit, limit], so it must be positive")
        self.limit = limit

    def after(self, play: Play) -> None:
        weights = [weight for network in play.game.players[self.player] for weight in network.parameters()]
        torch._foreach_clamp_min_(weights, -self.limit)
        torch._foreach_clamp_max_(weights, self.limit)
