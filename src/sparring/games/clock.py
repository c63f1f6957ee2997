"""The one clock of a training: iterations and kimg, thousands of real examples drawn for the first player."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from sparring import randomness
from sparring.regularizers.base import Schedule

T = TypeVar("T")


class Clock:
    """Counts iterations, and gives an iteration all that it reads from the count.

    What differs from one iteration to the next is asked for here. So an iteration can be recorded once and replayed
    with other values (``sparring.training.cuda_graphs``).

    Args:
        images_per_iteration: real examples drawn for the first player's turns in an iteration, over all ranks.
        iteration: iterations completed before the current one.
    """

    def __init__(self, images_per_iteration: int = 0, iteration: int = 0):
        self.images_per_iteration = images_per_iteration
        self.iteration = iteration

    def kimg_at(self, iteration: int) -> float:
        """Return the kimg after ``iteration`` iterations."""
        return iteration * self.images_per_iteration / 1000

    def number(self, of_iteration: Callable[[int], float]) -> float | Tensor:
        """Return a number to compute with, a function of ``iteration``. It is a tensor () in a recorded iteration."""
        return of_iteration(self.iteration)

    def scheduled(self, schedule: Schedule | None) -> float | Tensor:
        """Return the schedule's value at the current kimg, as ``number``; 1.0 without a schedule."""
        return 1.0 if schedule is None else self.number(lambda iteration: schedule(self.kimg_at(iteration)))

    def decide(self, of_iteration: Callable[[int], T]) -> T:
        """Return a function of ``iteration`` on which it depends what is computed; never a tensor."""
        return of_iteration(self.iteration)

    def generator(self, *key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
        """Return the random generator of a key whose second part is the current iteration."""
        return randomness.generator(*key, device=device)
