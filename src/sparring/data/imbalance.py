"""Classes of unequal size: data thinned to a long tail, and an order of examples that gives every class its turn."""

import logging

import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.randomness import generator

log = logging.getLogger(__name__)


def long_tailed(columns: dict[str, Tensor], ratio: float) -> dict[str, Tensor]:
    """Thin classes to a long tail: class c of K keeps n * ratio^(-c / (K - 1)) of its images, rounded down.

    The long tail of Cui et al. 2019 and Cao et al. 2019 (ratio 100 makes CIFAR-10-LT of CIFAR-10). n is the size of the
    first class, or less if others are too small for their share. The choice depends on the labels alone, not on a seed;
    a larger ratio keeps a subset of what a smaller one keeps.

    Args:
        columns: arrays of equal length, among them ``labels`` (N,) int64.
        ratio: images of the first class over those of the last, at least 1.

    Raises:
        UserError: there are no labels, or a class would be left without an image.
    """
    labels = _labels(columns, f"data.long_tail={ratio:g}")
    sizes = tail_sizes(labels.bincount(), ratio)
    if sizes.min() < 1:
        empty = int(sizes.argmin())
        raise UserError(
            f"data.long_tail={ratio:g}: class {empty} would be left without an image; choose a smaller ratio"
        )
    members = _members(labels)
    orders = [torch.randperm(len(rows), generator=generator("long tail", i)) for i, rows in enumerate(members)]
    chosen = [rows[order[:n]] for rows, order, n in zip(members, orders, sizes.tolist(), strict=True)]
    rows = torch.cat(chosen).sort().values
    first, last, total, all_rows = (f"{int(n):,}" for n in (sizes[0], sizes[-1], len(rows), len(labels)))
    log.info(
        "data.long_tail=%g: trained on %s of %s images, from %s of the first class to %s of the last",
        *(ratio, total, all_rows, first, last),
    )
    return {name: column[rows] for name, column in columns.items()}


def tail_sizes(counts: Tensor, ratio: float) -> Tensor:
    """Return how many images (K,) of each class ``long_tailed`` keeps of ``counts`` (K,)."""
    shares = ratio ** (-torch.arange(len(counts), dtype=torch.float64) / max(len(counts) - 1, 1))
    return ((counts / shares).min() * shares + 1e-6).long()  # 5000 / 100 is 50, whatever the rounding


class Balanced:
    """Orders of examples in which every class comes equally often, up to one example an epoch.

    Within a class the images come in reshuffled walks through all of them, which continue from epoch to epoch: an image
    comes again only after all others of its class. An order is a function of (seed, player, epoch) alone.

    Args:
        columns: arrays of equal length, among them ``labels`` (N,) int64. Classes without examples have no turn.
        seed: decides every order.

    Raises:
        UserError: there are no labels.
    """

    def __init__(self, columns: dict[str, Tensor], seed: int):
        labels = _labels(columns, "data.balance=true")
        self.members = [rows for rows in _members(labels) if len(rows)]
        self.length, self.seed = len(labels), seed

    def order(self, player: str, epoch: int) -> Tensor:
        """Return the examples (N,) of an epoch."""
        classes, start = len(self.members), epoch * self.length
        turns = torch.arange(start, start + self.length) % classes  # the class of each turn, through all epochs
        turns = turns[torch.randperm(self.length, generator=generator(self.seed, "order", player, epoch))]
        rows = torch.empty_like(turns)
        for i, places in enumerate(_members(turns, classes)):
            before = (start + classes - 1 - i) // classes  # turns of this class in earlier epochs
            rows[places] = self._walk(i, before, len(places), player)
        return rows

    def _walk(self, i: int, before: int, count: int, player: str) -> Tensor:
        """Return the next ``count`` examples of class ``i`` after the first ``before``."""
        rows = self.members[i]
        first, last = before // len(rows), (before + count) // len(rows)
        generators = (generator(self.seed, "class order", player, i, lap) for lap in range(first, last + 1))
        laps = torch.cat([torch.randperm(len(rows), generator=each) for each in generators])
        return rows[laps[before - first * len(rows) :][:count]]


def _labels(columns: dict[str, Tensor], key: str) -> Tensor:
    if "labels" not in columns:
        raise UserError(f"{key}: needs labels; these data have none")
    return columns["labels"].cpu()


def _members(labels: Tensor, classes: int = 0) -> tuple[Tensor, ...]:
    """Return the rows of each label 0, 1, ..., ascending."""
    return labels.argsort(stable=True).split(labels.bincount(minlength=classes).tolist())
