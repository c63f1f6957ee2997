"""Values as functions of kimg, the one clock (thousands of real examples shown to the first player).

A schedule is a factor, usually in [0, 1], that multiplies a base value: a learning rate, a penalty's weight, a half-life.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Schedule = Callable[[float], float]


class Replayed(float):
    """kimg of an iteration that is recorded to be replayed at others, when a schedule has other values.

    Args:
        kimg: of this iteration.
        follow: gives the tensor () that holds the schedule's value, set anew before each replay.
    """

    follow: Callable[[Schedule], Tensor]

    def __new__(cls, kimg: float, follow: Callable[[Schedule], Tensor]):
        moment = super().__new__(cls, kimg)
        moment.follow = follow
        return moment


def at(schedule: Schedule, kimg: float) -> float | Tensor:
    """The schedule's value: a number, or in an iteration that is ``Replayed`` a tensor () that is set anew each time."""
    return kimg.follow(schedule) if isinstance(kimg, Replayed) else schedule(kimg)


@dataclass(frozen=True)
class Constant:
    """1, always."""

    def __call__(self, kimg: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Linear:
    """``initial`` until ``start_kimg``, then a straight line to ``final`` at ``end_kimg``, then ``final``."""

    end_kimg: float
    start_kimg: float = 0.0
    final: float = 0.0
    initial: float = 1.0

    def __post_init__(self):
        if not 0 <= self.start_kimg < self.end_kimg:
            raise ValueError(f"a schedule needs 0 <= start_kimg < end_kimg, got {self.start_kimg} and {self.end_kimg}")

    def progress(self, kimg: float) -> float:
        """Share of the way from ``start_kimg`` to ``end_kimg``, in [0, 1]."""
        return min(max((kimg - self.start_kimg) / (self.end_kimg - self.start_kimg), 0.0), 1.0)

    def __call__(self, kimg: float) -> float:
        return self.initial + (self.final - self.initial) * self.progress(kimg)


@dataclass(frozen=True)
class Cosine(Linear):
    """``initial`` until ``start_kimg``, then half a cosine to ``final`` at ``end_kimg``, then ``final`` (SGDR, no restarts)."""

    def __call__(self, kimg: float) -> float:
        return self.final + (self.initial - self.final) * (1 + math.cos(math.pi * self.progress(kimg))) / 2
