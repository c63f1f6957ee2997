"""Batches of real data by index: which examples a turn sees is a function of (seed, iteration, turn)."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from sparring.data.imbalance import Balanced
from sparring.randomness import Draws, generator

Batch = dict[str, Tensor]


class Batches:
    """Gathers batches from columns that lie in memory, in a memory-mapped file, or on the device.

    Each player walks through the data in its own order, reshuffled every epoch; no example comes twice in an epoch. A
    batch that reaches the end of an epoch goes on with the next one, so no example is dropped.

    Args:
        columns: arrays of equal length, e.g. ``images`` (N, C, H, W) uint8, ``labels`` (N,) int64, and ``inputs``
            (N, C', H', W') uint8, what the images are made from.
        batch_size: examples a turn on each rank.
        seed: decides the order and every draw.
        flip: mirror images left to right with probability 1/2, and the inputs that belong to them alike.
        device_memory_gb: how much of a GPU's memory the data may take; larger data stay where they are.
        rank, world_size: this process among those that share each global batch.
        balance: give every class equally many turns in an epoch, so that examples of rare ones come several times in it
            and some of frequent ones not at all (see Balanced).
        jitter: enlarge each image, and the input that belongs to it alike, by up to this share and cut a place of the old
            size out of it (pix2pix: .117, to which all are enlarged).
        rotation: turn each image, and its input alike, by up to so many degrees to either side.
        paired: input i belongs to image i. Unpaired ``inputs``, of any length, are walked through in an order and
            epochs of their own, and mirrored by draws of their own.

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
        jitter: float = 0.0,
        rotation: float = 0.0,
        paired: bool = True,
    ):
        self.columns = columns
        self.seed = seed
        self.flip, self.jitter, self.rotation = flip, jitter, rotation
        self.paired = paired
        self.device = torch.device("cpu")
        self.global_size = batch_size * world_size
        self._part = slice(rank * batch_size, (rank + 1) * batch_size)
        self._length = len(next(iter(columns.values())))
        self._balanced = Balanced(columns, seed) if balance else None
        self._orders: dict[tuple[str, ...], tuple[int, Tensor]] = {}
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

    def draws(self, player: str, iteration: int, turn: int, make: Callable[..., torch.Generator] = generator) -> Draws:
        """The random numbers of a turn, for this rank's part of the global batch, by generators that ``make`` gives."""
        return Draws((self.seed, iteration, player, turn), self.global_size, self._part, self.device, make)

    def indices(self, player: str, position: int) -> Tensor:
        """Which examples (global batch,) are seen from ``position`` in the player's endless walk."""
        return self._walk((player,), self._length, position)

    def batch(self, player: str, iteration: int, turn: int, turns: int, reals: bool = True) -> Batch:
        """This rank's part of one turn's batch; without the images for a player that draws no ``reals``."""
        position = (iteration * turns + turn) * self.global_size
        rows = self.indices(player, position)[self._part]
        batch = {}
        for name, column in self.columns.items():
            if name == "images" and not reals:
                continue
            apart = name == "inputs" and not self.paired
            chosen = self._walk((player, name), len(column), position)[self._part] if apart else rows
            batch[name] = self._gather(column, chosen)
            if name in ("images", "inputs"):
                own = " inputs" if apart else ""
                batch[name] = self._moved(batch[name], self.draws(player, iteration, turn), own)
        return batch

    def _moved(self, images: Tensor, draws: Draws, own: str) -> Tensor:
        """Images mirrored, enlarged and turned as is drawn for each."""
        if self.flip:
            mirrored = draws.uniform(f"flip{own}", 1, 1, 1).flatten() < 0.5
            rows = torch.arange(len(images), device=images.device) + len(images) * mirrored
            images = torch.cat([images, images.flip(-1)]).index_select(0, rows)  # 4 times as quick as where, on bytes
        if not (self.jitter or self.rotation):
            return images
        numbers = draws.uniform(f"jitter{own}", 4)
        seen = 1 / (1 + self.jitter * numbers[:, 0])  # the share of height and width that is cut out
        places = (2 * numbers[:, 1:3] - 1) * (1 - seen)[:, None]
        angles = (2 * numbers[:, 3] - 1) * math.radians(self.rotation)
        cosines, sines = seen * angles.cos(), seen * angles.sin()
        matrices = torch.stack([cosines, -sines, places[:, 0], sines, cosines, places[:, 1]], 1).view(-1, 2, 3)
        grid = affine_grid(matrices, images.shape, align_corners=False)
        moved = grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
        return moved.round_().to(images.dtype)

    def stream(self, turns: dict[str, int], draws_reals: frozenset[str], start: int = 0) -> "Stream":
        """Endless iterations from ``start`` on: for each player a list of batches, one a turn."""
        return Stream(self, turns, draws_reals, start)

    def _walk(self, walk: tuple[str, ...], length: int, position: int) -> Tensor:
        """The next global batch of an endless walk through ``length`` rows: a player's, or a player's through a column."""
        found, wanted = [], self.global_size
        while wanted:
            epoch, start = divmod(position, length)
            taken = self._order(walk, length, epoch)[start : start + wanted]
            found.append(taken)
            position, wanted = position + len(taken), wanted - len(taken)
        return torch.cat(found)

    def _order(self, walk: tuple[str, ...], length: int, epoch: int) -> Tensor:
        if self._orders.get(walk, (None,))[0] != epoch:
            self._orders[walk] = (epoch, self._shuffled(walk, length, epoch))
        return self._orders[walk][1]

    def _shuffled(self, walk: tuple[str, ...], length: int, epoch: int) -> Tensor:
        if self._balanced and len(walk) == 1:
            return self._balanced.order(*walk, epoch)
        return torch.randperm(length, generator=generator(self.seed, "order", *walk, epoch))

    def _gather(self, column: Tensor, rows: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return column.index_select(0, rows)  # 25 times as quick as [rows]
        if self._on_device:
            return column.index_select(0, rows.pin_memory().to(self.device, non_blocking=True))
        return column.index_select(0, rows).pin_memory().to(self.device, non_blocking=True)


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
