"""A regularizer that remembers D's logits."""

from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.nn.functional import relu

from sparring.distributed import collectives
from sparring.regularizers.base import Regularizer, Turn


class LeCam(Regularizer):
    """relu(r - F)^2 + relu(R - f)^2 with R and F running means of the logits of reals and fakes (Tseng et al. 2021).

    As in the published code the means follow the latest batch alone until the term starts, and of a pair only what
    exceeds the other side's mean counts. They move after the turn, over all ranks and micro-batches; the published code
    moves them before.

    Args:
        weight: lambda.
        decay: share of themselves that the means keep in a turn.
        start: iteration from which on the term is added.
        discriminators: how many there are, each with means of its own.
        options: those of ``Regularizer``.
    """

    means: Tensor

    def __init__(
        self,
        weight: NonNegativeFloat = 0.3,
        decay: Annotated[float, Field(ge=0, lt=1)] = 0.99,
        start: NonNegativeInt = 1000,
        discriminators: PositiveInt = 1,
        **options: Any,
    ):
        super().__init__(weight, **options)
        self.decay = decay
        self.start = start
        self.register_buffer("means", torch.zeros(2, discriminators))  # of reals, of fakes
        self._latest: list[Tensor] = []  # means of this turn's micro-batches

    def forward(self, turn: Turn) -> Tensor | None:
        real, fake = (logits.to(self.means.dtype) for logits in (turn.real_logits, turn.fake_logits))
        self._latest.append(torch.stack([self._mean(real.detach()), self._mean(fake.detach())]))
        if turn.decide(self._is_early):
            return None
        return relu(real - self.means[1]).square() + relu(self.means[0] - fake).square()

    def _is_early(self, iteration: int, kimg: float) -> bool:
        return iteration < self.start

    def _mean(self, logits: Tensor) -> Tensor:
        """Return the mean of each discriminator's logits, (discriminators,)."""
        return logits.reshape(len(logits), len(self.means[0]), -1).mean((0, 2))

    def after(self, turn: Turn) -> None:
        if self._latest:
            latest = torch.stack(self._latest).mean(0)
            collectives.all_reduce([latest])
            share = 1.0 if turn.decide(self._is_early) else 1 - self.decay
            self.means.lerp_(latest / collectives.world_size(), share)
            self._latest.clear()
