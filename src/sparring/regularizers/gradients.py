"""Penalties on the gradient of the discriminator's logits by its input. Of several discriminators each has its own."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.linalg import vector_norm

from sparring.games.turn import Turn
from sparring.regularizers.base import Regularizer
from sparring.training.schedules import Schedule, at

if TYPE_CHECKING:
    from sparring.games.game import Game


def mixes(turn: Turn, purpose: str) -> Tensor:
    """One uniform mix of real and fake an example."""
    share = turn.draws.uniform(purpose, *[1] * (turn.reals.ndim - 1))
    return torch.lerp(turn.fakes.detach().to(turn.reals.dtype), turn.reals, share)


class GradientPenalty(Regularizer):
    """(|grad D(x)| - 1)^2 at one uniform mix x of real and fake an example (Gulrajani et al. 2017, WGAN-GP, eq. 3)."""

    def __init__(self, weight: float = 10.0, every: int = 1, schedule: Schedule | None = None):
        super().__init__(weight, every, schedule)

    def forward(self, turn: Turn) -> Tensor:
        gradient = turn.input_gradient(mixes(turn, "gradient_penalty"), "mix")
        return (vector_norm(gradient, dim=1) - 1).square()


class ZeroCentered(Regularizer):
    """|grad D(x)|^2 at one uniform mix x of real and fake an example (Thanh-Tung et al. 2019, 0-GP)."""

    def __init__(self, weight: float = 10.0, every: int = 1, schedule: Schedule | None = None):
        super().__init__(weight, every, schedule)

    def forward(self, turn: Turn) -> Tensor:
        return turn.input_gradient(mixes(turn, "zero_centered"), "mix").square().sum(1)


class Dragan(Regularizer):
    """(|grad D(x + a d)| - 1)^2 around reals, with a ~ U(0, 1) an example and d ~ s/2 U(0, 1) a number (Kodali et al. 2017).

    s is the standard deviation of all numbers of the reals that a rank sees together, as in the published code.
    """

    couples_batch = True

    def __init__(self, weight: float = 10.0, every: int = 1, schedule: Schedule | None = None):
        super().__init__(weight, every, schedule)

    def forward(self, turn: Turn) -> Tensor:
        noise = turn.draws.uniform("dragan noise", *turn.reals.shape[1:]) * turn.reals.std() / 2
        share = turn.draws.uniform("dragan share", *[1] * (turn.reals.ndim - 1))
        gradient = turn.input_gradient(turn.reals + share * noise, "dragan")
        return (vector_norm(gradient, dim=1) - 1).square()


class R1(Regularizer):
    """|grad D(x)|^2 / 2 on reals, weighted by gamma (Mescheder et al. 2018, eq. 9).

    Args:
        weight: gamma; ``auto`` is StyleGAN2's rule, 0.0002 * height * width / global batch size.
        every: iterations between two uses.
        schedule: factor of the weight as a function of kimg.
    """

    def __init__(self, weight: float | Literal["auto"] = 10.0, every: int = 1, schedule: Schedule | None = None):
        if isinstance(weight, str) and weight != "auto":
            raise ValueError(f"weight={weight}: a number, or auto")
        super().__init__(weight, every, schedule)

    def weight_at(self, turn: Turn) -> float | Tensor:
        if self.weight != "auto":
            return super().weight_at(turn)
        height, width = turn.reals.shape[-2:]
        gamma = 0.0002 * height * width / turn.draws.total
        return gamma if self.schedule is None else gamma * at(self.schedule, turn.kimg)

    def check_fits(self, game: "Game", data: Tensor) -> None:
        if self.weight == "auto" and data.ndim != 4:
            raise ValueError(
                f"weight=auto: a rule for images, and these data are {tuple(data.shape[1:])}; name a number"
            )

    def forward(self, turn: Turn) -> Tensor:
        return turn.input_gradient(turn.reals, "real").square().sum(1) / 2


class R2(R1):
    """|grad D(x)|^2 / 2 on fakes, weighted by gamma as R1's (Mescheder et al. 2018, eq. 10)."""

    def forward(self, turn: Turn) -> Tensor:
        return turn.input_gradient(turn.fakes, "fake").square().sum(1) / 2
