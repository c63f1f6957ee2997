"""Fakes of earlier turns, so that a discriminator does not forget them (Shrivastava et al. 2017, section 2.3)."""

import torch
from torch import Tensor, nn

from sparring.randomness import Draws


class ImagePool(nn.Module):
    """With probability 1/2 return an earlier fake in place of a new one, which is stored in its place.

    Until the pool is full, it stores and returns every new fake. A batch can replace at most ``size`` of them: the rest
    of a larger batch is returned as it is.

    Args:
        size: stored fakes, 0 for none.
        shape: of a fake.
    """

    kept: Tensor  # (size, *shape)
    seen: Tensor  # (), fakes so far

    def __init__(self, size: int, shape: tuple[int, ...]):
        super().__init__()
        self.register_buffer("kept", torch.zeros(size, *shape))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, fakes: Tensor, draws: Draws) -> Tensor:
        """Fakes (batch, *shape), some of them earlier ones."""
        size = len(self.kept)
        new, others = fakes[:size], fakes[size:]
        order = self.seen + torch.arange(len(new), device=new.device)
        fills, full = (order < size).view(-1, 1, 1, 1), self.seen >= size
        slots = torch.where(full, draws.shuffled("pool places", size)[: len(new)], order % max(size, 1))
        exchanged = (draws.uniform("pool", 1, 1, 1)[: len(new)] < 0.5) & full
        old = self.kept[slots].to(new.dtype)
        self.kept[slots] = torch.where(exchanged | fills, new.detach(), old).to(self.kept.dtype)
        self.seen += len(new)
        return torch.cat([torch.where(exchanged, old, new), others])
