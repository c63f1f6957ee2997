"""Penalties on how much the output changes with a slight change of an image or of a latent."""

from typing import Any

import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from sparring.augment.base import check_images
from sparring.augment.shifts import flip_and_shift
from sparring.regularizers.base import Game, Regularizer, Turn


def squared_difference(a: Tensor, b: Tensor) -> Tensor:
    """Return (a - b)^2, in float32 under mixed precision."""
    return (a.to(torch.get_default_dtype()) - b.to(torch.get_default_dtype())).square()


class Consistency(Regularizer):
    """(D(x) - D(Tx))^2 on reals (Zhang et al. 2020, CR-GAN).

    T flips left to right with probability 1/2 and shifts by up to an eighth of the image, 4 pixels of 32, the edge
    mirrored. An augmentation of the game is the same for both.
    """

    def __init__(self, weight: NonNegativeFloat = 10.0, **options: Any):
        super().__init__(weight, **options)

    def check_fits(self, game: Game, data: Tensor) -> None:
        check_images(data)
        if game.judge_pairs:
            raise ValueError("model.judge_pairs=true: D sees the input, too, which would not be changed")

    def forward(self, turn: Turn) -> Tensor:
        changed = flip_and_shift(turn.reals, turn.draws, "consistency real")
        return squared_difference(turn.real_logits, turn.judge(changed, "real"))


class BalancedConsistency(Consistency):
    """(D(x) - D(Tx))^2 on reals and on fakes, T as in ``Consistency`` (Zhao et al. 2021, bCR).

    Args:
        weight: lambda of the reals.
        fakes: lambda of the fakes over that of the reals.
        options: those of ``Regularizer``.
    """

    def __init__(self, weight: NonNegativeFloat = 10.0, fakes: NonNegativeFloat = 1.0, **options: Any):
        super().__init__(weight, **options)
        self.fakes = fakes

    def forward(self, turn: Turn) -> Tensor:
        changed = flip_and_shift(turn.fakes.detach(), turn.draws, "consistency fake")
        return super().forward(turn) + self.fakes * squared_difference(turn.fake_logits, turn.judge(changed, "fake"))


def neighbours(turn: Turn, sigma: float) -> Tensor:
    """Return the turn's latents, each moved by N(0, sigma^2)."""
    return turn.latents + sigma * turn.draws.normal("latent_consistency", *turn.latents.shape[1:])


class LatentConsistency(Regularizer):
    """(D(G(z)) - D(G(z + d)))^2 with d ~ N(0, sigma^2), D's part of zCR (Zhao et al. 2021).

    Its weight and ``sigma`` are those of StudioGAN's BigGAN on CIFAR-10.
    """

    needs_latents = True

    def __init__(self, weight: NonNegativeFloat = 20.0, sigma: NonNegativeFloat = 0.05, **options: Any):
        super().__init__(weight, **options)
        self.sigma = sigma

    def forward(self, turn: Turn) -> Tensor:
        moved = turn.produce(neighbours(turn, self.sigma)).detach()
        return squared_difference(turn.fake_logits, turn.judge(moved, "fake"))


class LatentDiversity(Regularizer):
    """-|G(z) - G(z + d)|^2 with d ~ N(0, sigma^2), G's part of zCR (Zhao et al. 2021).

    The square is averaged over the numbers of an image, as StudioGAN does, whose weight and ``sigma`` these are.
    """

    needs_latents = True
    player = "generator"

    def __init__(self, weight: NonNegativeFloat = 0.5, sigma: NonNegativeFloat = 0.05, **options: Any):
        super().__init__(weight, **options)
        self.sigma = sigma

    def forward(self, turn: Turn) -> Tensor:
        moved = turn.produce(neighbours(turn, self.sigma))
        return -squared_difference(turn.fakes, moved).flatten(1).mean(1)
