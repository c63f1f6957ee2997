"""Penalties on the gradient of the discriminator's logits by its input. Of several discriminators each has its own."""

from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor
from torch.linalg import vector_norm

from sparring.regularizers.base import Game, Regularizer, Turn


def input_gradient(turn: Turn, images: Tensor, purpose: str) -> Tensor:
    """Return the gradient of D's logits by its input at ``images``, itself differentiable.

    D sees the images augmented as for ``purpose``; the gradient goes through that (Karras et al. 2020, StyleGAN2-ADA).
    Where every patch of an image has a logit, it is the gradient of their mean.

    Args:
        turn: of the discriminator.
        images: (batch, ...), in [-1, 1].
        purpose: see ``Turn.judge``.

    Returns:
        (rows, numbers in an input): the rows of the first discriminator, then those of the second.
    """
    images = images.detach().to(torch.get_default_dtype()).requires_grad_()
    with turn.twice_differentiable():
        logits = turn.judge(images, purpose)
        judged = min(len(images), len(logits))  # packs of images, or images of which every patch is judged
        means = logits.view(judged, -1, *logits.shape[1:]).mean(1).view(judged, -1)  # (judged, discriminators)
        gradients = [torch.autograd.grad(mean.sum(), images, create_graph=True)[0] for mean in means.unbind(1)]
    return torch.cat([gradient.reshape(judged, -1) for gradient in gradients])


def mixes(turn: Turn, purpose: str) -> Tensor:
    """Return one uniform mix of a real and a fake for each example, (batch, ...)."""
    share = turn.draws.uniform(purpose, *[1] * (turn.reals.ndim - 1))
    return torch.lerp(turn.fakes.detach().to(turn.reals.dtype), turn.reals, share)


class GradientPenalty(Regularizer):
    """(|grad D(x)| - 1)^2 at one uniform mix x of real and fake an example (Gulrajani et al. 2017, WGAN-GP, eq. 3)."""

    def __init__(self, weight: NonNegativeFloat = 10.0, **options: Any):
        super().__init__(weight, **options)

    def forward(self, turn: Turn) -> Tensor:
        gradient = input_gradient(turn, mixes(turn, "gradient_penalty"), "mix")
        return (vector_norm(gradient, dim=1) - 1).square()


class ZeroCentered(GradientPenalty):
    """|grad D(x)|^2 at one uniform mix x of real and fake an example (Thanh-Tung et al. 2019, 0-GP)."""

    def forward(self, turn: Turn) -> Tensor:
        return input_gradient(turn, mixes(turn, "zero_centered"), "mix").square().sum(1)


class Dragan(GradientPenalty):
    """(|grad D(x + a d)| - 1)^2 around reals; a ~ U(0, 1) an example, d ~ s/2 U(0, 1) a number (Kodali et al. 2017).

    s is the standard deviation of all numbers of the reals that a rank sees together, as in the published code.
    """

    couples_batch = True

    def forward(self, turn: Turn) -> Tensor:
        noise = turn.draws.uniform("dragan noise", *turn.reals.shape[1:]) * turn.reals.std() / 2
        share = turn.draws.uniform("dragan share", *[1] * (turn.reals.ndim - 1))
        gradient = input_gradient(turn, turn.reals + share * noise, "dragan")
        return (vector_norm(gradient, dim=1) - 1).square()


class R1(Regularizer):
    """|grad D(x)|^2 / 2 on reals, weighted by gamma (Mescheder et al. 2018, eq. 9).

    Args:
        weight: gamma; ``auto`` is StyleGAN2's rule, 0.0002 * height * width / global batch size.
        options: those of ``Regularizer``.
    """

    def __init__(self, weight: NonNegativeFloat | Literal["auto"] = 10.0, **options: Any):
        super().__init__(**options)
        self.gamma = weight

    def weight_in(self, turn: Turn) -> float:
        if isinstance(self.gamma, str):
            height, width = turn.reals.shape[-2:]
            return 0.0002 * height * width / turn.draws.total
        return self.gamma

    def check_fits(self, game: Game, data: Tensor) -> None:
        if self.gamma == "auto" and data.ndim != 4:
            raise ValueError(
                f"weight=auto: a rule for images, and these data are {tuple(data.shape[1:])}; give a number"
            )

    def forward(self, turn: Turn) -> Tensor:
        return input_gradient(turn, turn.reals, "real").square().sum(1) / 2


class R2(R1):
    """|grad D(x)|^2 / 2 on fakes, weighted by gamma as R1's (Mescheder et al. 2018, eq. 10)."""

    def forward(self, turn: Turn) -> Tensor:
        return input_gradient(turn, turn.fakes, "fake").square().sum(1) / 2
