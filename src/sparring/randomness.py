"""Randomness as a function: (seed, iteration, purpose, index in the global batch) decide every draw.

Draws have no state, so a resumed run needs no generator state. A rank draws for the global batch and keeps its own
slice, so all ranks together have the draws of a single process.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


def seed_of(*key: int | str) -> int:
    """Return a seed in [0, 2^63) that depends on every part of ``key``, order and type included."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator whose stream is a function of ``key``."""
    return torch.Generator(device).manual_seed(seed_of(*key))


def seed_layers(*key: int | str, device: torch.device) -> None:
    """Seed the generators of dropout and noise layers on the CPU and on ``device``.

    ``torch.manual_seed`` would keep a stack trace for every kind of device that is missing, at each call.
    """
    torch.default_generator.manual_seed(seed_of(*key))
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed_of(*key))


@dataclass(frozen=True)
class Draws:
    """The random numbers of one turn.

    Args:
        key: what the draws depend on, usually (seed, iteration, player, turn).
        total: examples in the global batch, over all ranks and micro-batches.
        part: the examples of this batch among them.
        device: where the numbers are drawn and stay.
        make: returns the generator of a key.
    """

    key: tuple[int | str, ...]
    total: int
    part: slice
    device: torch.device | str = "cpu"
    make: Callable[..., torch.Generator] = generator

    def __len__(self) -> int:
        return len(range(*self.part.indices(self.total)))

    def only(self, part: slice) -> "Draws":
        """Return the draws of a micro-batch; ``part`` counts within this batch."""
        start = self.part.start or 0
        return replace(self, part=slice(start + part.start, start + part.stop))

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Return standard normal numbers of shape (batch, *shape)."""
        return torch.randn(self.total, *shape, generator=self._generator(purpose), device=self.device)[self.part]

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Return uniform numbers in [0, 1) of shape (batch, *shape)."""
        return torch.rand(self.total, *shape, generator=self._generator(purpose), device=self.device)[self.part]

    def choice(self, purpose: str, weights: Tensor) -> Tensor:
        """Return indices (batch,) drawn in proportion to ``weights`` (choices,), with replacement."""
        drawn = torch.multinomial(weights, self.total, replacement=True, generator=self._generator(purpose))
        return drawn[self.part]

    def shuffled(self, purpose: str, count: int) -> Tensor:
        """Return 0 ... count - 1 (count,) in an order of this part of the batch."""
        draws = self.make(*self.key, purpose, self.part.start or 0, device=self.device)
        return torch.randperm(count, generator=draws, device=self.device)

    def _generator(self, purpose: str) -> torch.Generator:
        return self.make(*self.key, purpose, device=self.device)
