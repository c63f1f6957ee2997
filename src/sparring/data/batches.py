"""Batches of real data by index: which examples a turn sees is a function of (seed, iteration, turn)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from sparring.data.imbalance import Balanced
from sparring.randomness import Draws, generator

Batch = dict[str, Tensor]


class Batches:
    """Gathers batches from columns that lie in memory, in a memory-mapped file, or on the device.

    Each player walks through the data in its own order, reshuffled every epoch; no example comes twice in an epoch. A
    batch that reaches the end of an epoch goes on with the next one, so no example is dropped.

    Args:
        columns: arrays of equal length, e.g. ``images`` (N, C, H, W) uint8 and ``labels`` (N,) int64.
        batch_size: examples a turn on each rank.
        seed: decides the order and every draw.
        flip: mirror images left to right with probability 1/2.
        device_memory_gb: how much of a GPU's memory the data may take; larger data stay where they are.
        rank, world_size: this process among those that share each global batch.
        balance: give every class equally many turns in an epoch, so that examples of rare ones come several times in it
            and some of frequent ones not at all (see Balanced).

    Raises:
        UserError: ``balance`` without labels.
    """

    def __init__(
        self,
        columns: Batch,
        batch_size: int,
        seed: int = 0,
        flip: bool = False,
        device_memory_gb: float = 4.0,
        rank: int = 0,
        world_size: int = 1,
        balance: bool = False,
    ):
        self.columns = columns
        self.seed = seed
        self.flip = flip
        self.device = torch.device("cpu")
        self.global_size = batch_size * world_size
        self._part = slice(rank * batch_size, (rank + 1) * batch_size)
        self._length = len(next(iter(columns.values())))
        self._balanced = Balanced(columns, seed) if balance else None
        self._orders: dict[str, tuple[int, Tensor]] = {}
        self._on_device = sum(column.nbytes for column in columns.values()) <= device_memory_gb * 2**30

    def to(self, device: torch.device) -> "Batches":
        """Deliver to ``device``; the columns are moved there, too, if they take at most ``device_memory_gb``."""
        self.device = device
        if self._on_device:
            self.columns = {name: column.to(device) for name, column in self.columns.items()}
        return self

    def __len__(self) -> int:
        """Examples in an epoch."""
        return self._length

    def draws(self, player: str, iteration: int, turn: int) -> Draws:
        """The random numbers of a turn, for this rank's part of the global batch."""
        return Draws((self.seed, iteration, player, turn), self.global_size, self._part, self.device)

    def indices(self, player: str, position: int) -> Tensor:
        """Which examples (global batch,) are seen from ``position`` in the player's endless walk."""
        found, wanted = [], self.global_size
        while wanted:
            epoch, start = divmod(position, self._length)
            taken = self._order(player, epoch)[start : start + wanted]
            found.append(taken)
            position, wanted = position + len(taken), wanted - len(taken)
        return torch.cat(found)

    def batch(self, player: str, iteration: int, turn: int, turns: int, reals: bool = True) -> Batch:
        """This rank's part of one turn's batch; without the images for a player that draws no ``reals``."""
        rows = self.indices(player, (iteration * turns + turn) * self.global_size)[self._part]
        names = [name for name in self.columns if reals or name == "labels"]
        batch = {name: self._gather(self.columns[name], rows) for name in names}
        if self.flip and "images" in batch:
            mirrored = self.draws(player, iteration, turn).uniform("flip", 1, 1, 1) < 0.5
            batch["images"] = torch.where(mirrored, batch["images"].flip(-1), batch["images"])
        return batch

    def stream(self, turns: dict[str, int], draws_reals: frozenset[str], start: int = 0) -> "Stream":
        """Endless iterations from ``start`` on: for each player a list of batches, one a turn."""
        return Stream(self, turns, draws_reals, start)

    def _order(self, player: str, epoch: int) -> Tensor:
        if self._orders.get(player, (None,))[0] != epoch:
            self._orders[player] = (epoch, self._shuffled(player, epoch))
        return self._orders[player][1]

    def _shuffled(self, player: str, epoch: int) -> Tensor:
        if self._balanced:
            return self._balanced.order(player, epoch)
        return torch.randperm(self._length, generator=generator(self.seed, "order", player, epoch))

    def _gather(self, column: Tensor, rows: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return column[rows]
        if self._on_device:
            return column[rows.pin_memory().to(self.device, non_blocking=True)]
        return column[rows].pin_memory().to(self.device, non_blocking=True)


class Stream:
    """An iterable without a length: Lightning sees no epochs, and resuming is entering it at another iteration."""

    def __init__(self, batches: Batches, turns: dict[str, int], draws_reals: frozenset[str], start: int):
        self.batches, self.turns, self.draws_reals, self.start = batches, turns, draws_reals, start

    def __iter__(self) -> Iterator[dict[str, list[Batch]]]:
        iteration = self.start
        while True:
            yield {
                player: [
                    self.batches.batch(player, iteration, turn, turns, reals=player in self.draws_reals)
                    for turn in range(turns)
                ]
                for player, turns in self.turns.items()
            }
            iteration += 1
