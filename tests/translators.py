"""A translating game whose answer is known, and its sampler."""

import torch
from torch import nn

from sparring.data.degradations.base import Degradation
from sparring.evaluation.sampler import Sampler
from sparring.games.translation import Translation
from sparring.losses import LeastSquares


class Negative(nn.Module):
    """Answers with the negative of the first ``channels``, ``scale`` times as high and wide."""

    def __init__(self, channels: int = 1, scale: int = 1):
        super().__init__()
        self.factor, self.channels, self.scale = nn.Parameter(torch.tensor(-1.0)), channels, scale

    def forward(self, condition):
        made = self.factor * condition[:, : self.channels]
        return made.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


def a_sampler(
    generator: nn.Module | None = None, degradation: Degradation | None = None, examples=None, **options
) -> Sampler:
    game = Translation(
        generator=generator or Negative(), discriminator=nn.Identity(), loss=LeastSquares(), degradation=degradation
    )
    return Sampler(game, game.producer, examples=examples, **options)
