"""Fakes of earlier turns, for a discriminator not to forget them (Shrivastava et al. 2017, section 2.3)."""

import torch
from torch import Tensor, nn

from sparring.randomness import Draws


class Pool(nn.Module):
    """The fakes of earlier turns: each new one is shown or, with probability 1/2, takes an older one's place, which is shown.

    Until it is full every fake is shown and kept (those beyond, of the batch that fills it, are shown). A batch changes as
    many as it holds, the last of a larger batch none.

    Args:
        size: fakes that are kept, 0 for none.
        shape: of a fake.
    """

    def __init__(self, size: int, shape: tuple[int, ...]):
        super().__init__()
        if size < 0:
            raise ValueError(f"pool={size}: fakes that are remembered, 0 for none")
        self.register_buffer("kept", torch.zeros(size, *shape))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, fakes: Tensor, draws: Draws) -> Tensor:
        """Fakes (batch, *shape), some of them earlier ones."""
        size = len(self.kept)
        new, others = fakes[:size], fakes[size:]
        order = self.seen + torch.arange(len(new), device=new.device)
        fills, full = (order < size).view(-1, 1, 1, 1), self.seen >= size
        places = torch.where(full, draws.shuffled("pool places", size)[: len(new)], order % max(size, 1))
        exchanged = (draws.uniform("pool", 1, 1, 1)[: len(new)] < 0.5) & full
        old = self.kept[places].to(new.dtype)
        self.kept[places] = torch.where(exchanged | fills, new.detach(), old).to(self.kept.dtype)
        self.seen += len(new)
        return torch.cat([torch.where(exchanged, old, new), others])
