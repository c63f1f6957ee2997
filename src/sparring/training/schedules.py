"""Factors as functions of kimg, usually in [0, 1]: of a learning rate, a penalty's weight, a half-life."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, NonNegativeFloat


@dataclass(frozen=True)
class Constant:
    """1, always."""

    def __call__(self, kimg: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Linear:
    """``initial`` until ``start_kimg``, then a straight line to ``final`` at ``end_kimg``, then ``final``."""

    end_kimg: Annotated[float, Field(gt=0, le=1e9)]
    start_kimg: NonNegativeFloat = 0.0
    final: float = 0.0
    initial: float = 1.0

    def __post_init__(self):
        if not 0 <= self.start_kimg < self.end_kimg:
            raise ValueError(f"a schedule needs 0 <= start_kimg < end_kimg, got {self.start_kimg} and {self.end_kimg}")

    def progress(self, kimg: float) -> float:
        """Return the share of the way from ``start_kimg`` to ``end_kimg``, in [0, 1]."""
        return min(max((kimg - self.start_kimg) / (self.end_kimg - self.start_kimg), 0.0), 1.0)

    def __call__(self, kimg: float) -> float:
        return self.initial + (self.final - self.initial) * self.progress(kimg)


@dataclass(frozen=True)
class Cosine(Linear):
    """As ``Linear``, but from ``initial`` to ``final`` along half a cosine (SGDR without restarts)."""

    def __call__(self, kimg: float) -> float:
        return self.final + (self.initial - self.final) * (1 + math.cos(math.pi * self.progress(kimg))) / 2
