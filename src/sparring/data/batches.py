"""Batches of real data by index: which examples a turn sees is a function of (seed, iteration, turn)."""

import math
from collections.abc import Callable, Iterator
from itertools import count

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from sparring.data.imbalance import Balanced
from sparring.randomness import Draws, generator

Batch = dict[str, Tensor]


class Batches:
    """Gathers batches from columns in memory, in a memory-mapped file, or on the device.

    Each player walks through the data in its own order, reshuffled every epoch; no example comes twice in an epoch. A
    batch that reaches the end of an epoch continues with the next one, so no example is dropped.

    Args:
        columns: arrays of equal length, e.g. ``images`` (N, C, H, W) uint8, ``labels`` (N,) int64, and ``inputs``
            (N, C', H', W') uint8, what the images are made from.
        batch_size: examples a turn on each rank.
        seed: decides the order and every draw.
        flip: mirror images left to right with probability 1/2, and the inputs that belong to them alike.
        device_memory_gb: GiB of a GPU's memory that the data may take; larger data stay where they are.
        rank: this process among those that share each global batch.
        world_size: number of these processes.
        balance: give every class equally many turns in an epoch, so that examples of rare ones come several times in it
            and some of frequent ones not at all (see ``Balanced``).
        jitter: enlarge each image, and its input alike, by up to this share, and crop a random place to the old size
            (pix2pix: .117).
        rotation: turn each image, and its input alike, by up to so many degrees to either side.
        paired: input i belongs to image i. Unpaired ``inputs``, of any number, have their own order, epochs and draws.

    Raises:
        UserError: ``balance`` without labels.
    """

    def __init__(
        self,
        columns: Batch,
        batch_size: int,
        seed: int = 0,
        *,
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
        self._orders: dict[tuple[str, ...], tuple[int, Tensor]] = {}  # of each walk its epoch, and the order in it
        self._on_device = sum(column.nbytes for column in columns.values()) <= device_memory_gb * 2**30

    def to(self, device: torch.device) -> "Batches":
        """Deliver to ``device``; move the columns there, too, if they take at most ``device_memory_gb``."""
        self.device = device
        if self._on_device:
            self.columns = {name: column.to(device) for name, column in self.columns.items()}
        return self

    def __len__(self) -> int:
        """Examples in an epoch."""
        return self._length

    def draws(self, player: str, iteration: int, turn: int, make: Callable[..., torch.Generator] = generator) -> Draws:
        """Return the random numbers of a turn, this rank's part of the global batch's, by generators from ``make``."""
        return Draws((self.seed, iteration, player, turn), self.global_size, self._part, self.device, make)

    def batch(self, player: str, iteration: int, turn: int, turns: int, reals: bool = True) -> Batch:
        """Return this rank's part of a turn's batch, on the device.

        Args:
            player: whose turn it is.
            iteration: from 0.
            turn: of the player in the iteration, from 0.
            turns: of the player in each iteration.
            reals: whether ``images`` are wanted; a player that draws none still gets the other columns.

        Returns:
            By the columns' names: ``images`` (batch, C, H, W) and ``inputs`` (batch, C', H', W') in the dtype they are
            stored in, mirrored, enlarged and turned; ``labels`` (batch,) int64.
        """
        position = (iteration * turns + turn) * self.global_size
        rows = self._walk((player,), self._length, position)[self._part]
        batch = {}
        for name, column in self.columns.items():
            if name == "images" and not reals:
                continue
            apart = name == "inputs" and not self.paired
            chosen = self._walk((player, name), len(column), position)[self._part] if apart else rows
            batch[name] = self._gather(column, chosen)
            if name in ("images", "inputs"):
                draws = self.draws(player, iteration, turn)
                batch[name] = self._transform(batch[name], draws, " inputs" if apart else "")
        return batch

    def stream(self, turns: dict[str, int], draws_reals: frozenset[str], start: int = 0) -> "Stream":
        """Return endless iterations from ``start`` on: for each player a list of batches, one a turn."""
        return Stream(self, turns, draws_reals, start)

    def _transform(self, images: Tensor, draws: Draws, purpose: str) -> Tensor:
        """Mirror, enlarge and turn each image as is drawn for it."""
        if self.flip:
            mirrored = draws.uniform(f"flip{purpose}", 1, 1, 1).flatten() < 0.5
            rows = torch.arange(len(images), device=images.device) + len(images) * mirrored
            images = torch.cat([images, images.flip(-1)]).index_select(0, rows)  # 4 times as quick as where, on bytes
        if not (self.jitter or self.rotation):
            return images
        numbers = draws.uniform(f"jitter{purpose}", 4)
        seen = 1 / (1 + self.jitter * numbers[:, 0])  # the share of height and width that is cropped
        places = (2 * numbers[:, 1:3] - 1) * (1 - seen)[:, None]
        angles = (2 * numbers[:, 3] - 1) * math.radians(self.rotation)
        cosines, sines = seen * angles.cos(), seen * angles.sin()
        matrices = torch.stack([cosines, -sines, places[:, 0], sines, cosines, places[:, 1]], 1).view(-1, 2, 3)
        grid = affine_grid(matrices, list(images.shape), align_corners=False)
        moved = grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
        return moved.round_().to(images.dtype)

    def _walk(self, walk: tuple[str, ...], length: int, position: int) -> Tensor:
        """Return a global batch of an endless walk: a player's, or a player's through one column."""
        parts, wanted = [], self.global_size
        while wanted:
            epoch, start = divmod(position, length)
            parts.append(self._order(walk, length, epoch)[start : start + wanted])
            position, wanted = position + len(parts[-1]), wanted - len(parts[-1])
        return torch.cat(parts)

    def _order(self, walk: tuple[str, ...], length: int, epoch: int) -> Tensor:
        if walk not in self._orders or self._orders[walk][0] != epoch:
            if self._balanced and len(walk) == 1:
                order = self._balanced.order(*walk, epoch)
            else:
                order = torch.randperm(length, generator=generator(self.seed, "order", *walk, epoch))
            self._orders[walk] = epoch, order
        return self._orders[walk][1]

    def _gather(self, column: Tensor, rows: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return column.index_select(0, rows)  # 25 times as quick as [rows]
        if self._on_device:
            return column.index_select(0, rows.pin_memory().to(self.device, non_blocking=True))
        return column.index_select(0, rows).pin_memory().to(self.device, non_blocking=True)


class Stream:
    """An iterable without a length: Lightning sees no epochs, and a resumed run enters it at another iteration."""

    def __init__(self, batches: Batches, turns: dict[str, int], draws_reals: frozenset[str], start: int):
        self.batches, self.turns, self.draws_reals, self.start = batches, turns, draws_reals, start

    def __iter__(self) -> Iterator[dict[str, list[Batch]]]:
        for iteration in count(self.start):
            yield {
                player: [self.batches.batch(player, iteration, i, n, player in self.draws_reals) for i in range(n)]
                for player, n in self.turns.items()
            }
