"""A regularizer that remembers."""

import torch
from torch import Tensor
from torch.nn.functional import relu

from sparring.distributed import collectives
from sparring.games.turn import Turn
from sparring.regularizers.base import Regularizer, Schedule


class LeCam(Regularizer):
    """relu(r - F)^2 + relu(R - f)^2 with R and F running means of the logits of reals and fakes (Tseng et al. 2021).

    As in the published code the means follow the latest batch alone until the term starts, and of a pair only what
    exceeds the other side's mean counts. They move after the turn, over all ranks and micro-batches; the published code
    moves them before.

    Args:
        weight: lambda.
        every: iterations between two uses.
        schedule: factor of the weight as a function of kimg.
        decay: what the means keep of themselves in a turn.
        start: iteration from which on the term is added.
        discriminators: how many there are, each with means of its own.
    """

    def __init__(
        self,
        weight: float = 0.3,
        every: int = 1,
        schedule: Schedule | None = None,
        decay: float = 0.99,
        start: int = 1000,
        discriminators: int = 1,
    ):
        super().__init__(weight, every, schedule)
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must be at least 0 and below 1")
        self.decay = decay
        self.start = start
        self.register_buffer("means", torch.zeros(2, discriminators))  # of reals, of fakes
        self._seen: list[Tensor] = []  # means of this turn's micro-batches

    def forward(self, turn: Turn) -> Tensor | None:
        real, fake = (logits.to(self.means.dtype) for logits in (turn.real_logits, turn.fake_logits))
        self._seen.append(torch.stack([self._mean(real.detach()), self._mean(fake.detach())]))
        if turn.iteration < self.start:
            return None
        return relu(real - self.means[1]).square() + relu(self.means[0] - fake).square()

    def phase(self, iteration: int, kimg: float) -> bool:
        return iteration < self.start

    def _mean(self, logits: Tensor) -> Tensor:
        """Of each discriminator, (discriminators,)."""
        return logits.reshape(len(logits), len(self.means[0]), -1).mean((0, 2))

    def after(self, turn: Turn) -> None:
        if self._seen:
            latest = torch.stack(self._seen).mean(0)
            collectives.all_reduce([latest])
            moved = 1.0 if turn.iteration < self.start else 1 - self.decay
            self.means.lerp_(latest / collectives.world_size(), moved)
            self._seen.clear()
