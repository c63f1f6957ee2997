"""Penalties on the gradient of the discriminator's logits by its input. Of several discriminators each has its own."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.linalg import vector_norm

from sparring.play import Play
from sparring.regularizers.base import Regularizer
from sparring.schedule import Schedule, at

if TYPE_CHECKING:
    from sparring.games.game import Game


def mixes(play: Play, purpose: str) -> Tensor:
    """One uniform mix of real and fake an example."""
    share = play.draws.uniform(purpose, *[1] * (play.reals.ndim - 1))
    return torch.lerp(play.fakes.detach().to(play.reals.dtype), play.reals, share)


class GradientPenalty(Regularizer):
    """(|grad D(x)| - 1)^2 at one uniform mix x of real and fake an example (Gulrajani et al. 2017, WGAN-GP, eq. 3)."""

    def __init__(self, weight: float = 10.0, every: int = 1, schedule: Schedule | None = None):
        super().__init__(weight, every, schedule)

    def forward(self, play: Play) -> Tensor:
        gradient = play.input_gradient(mixes(play, "gradient_penalty"), "mix")
        return (vector_norm(gradient, dim=1) - 1).square()


class ZeroCentered(Regularizer):
    """|grad D(x)|^2 at one uniform mix x of real and fake an example (Thanh-Tung et al. 2019, 0-GP)."""

    def __init__(self, weight: float = 10.0, every: int = 1, schedule: Schedule | None = None):
        super().__init__(weight, every, schedule)

    def forward(self, play: Play) -> Tensor:
        return play.input_gradient(mixes(play, "zero_centered"), "mix").square().sum(1)


class Dragan(Regularizer):
    """(|grad D(x + a d)| - 1)^2 around reals, with a ~ U(0, 1) an example and d ~ s/2 U(0, 1) a number (Kodali et al. 2017).

    s is the standard deviation of all numbers of the reals that a rank sees together, as in the published code.
    """

    couples_batch = True

    def __init__(self, weight: float = 10.0, every: int = 1, schedule: Schedule | None = None):
        super().__init__(weight, every, schedule)

    def forward(self, play: Play) -> Tensor:
        noise = play.draws.uniform("dragan noise", *play.reals.shape[1:]) * play.reals.std() / 2
        share = play.draws.uniform("dragan share", *[1] * (play.reals.ndim - 1))
        gradient = play.input_gradient(play.reals + share * noise, "dragan")
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

    def weight_at(self, play: Play) -> float | Tensor:
        if self.weight != "auto":
            return super().weight_at(play)
        height, width = play.reals.shape[-2:]
        gamma = 0.0002 * height * width / play.draws.total
        return gamma if self.schedule is None else gamma * at(self.schedule, play.kimg)

    def check_fits(self, game: "Game", data: Tensor) -> None:
        if self.weight == "auto" and data.ndim != 4:
            raise ValueError(
                f"weight=auto: a rule for images, and these data are {tuple(data.shape[1:])}; name a number"
            )

    def forward(self, play: Play) -> Tensor:
        return play.input_gradient(play.reals, "real").square().sum(1) / 2


class R2(R1):
    """|grad D(x)|^2 / 2 on fakes, weighted by gamma as R1's (Mescheder et al. 2018, eq. 10)."""

    def forward(self, play: Play) -> Tensor:
        return play.input_gradient(play.fakes, "fake").square().sum(1) / 2
