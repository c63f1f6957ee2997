"""Iterations that are recorded once and replayed: where launching a network's kernels takes longer than running them.

A replay repeats the operations of the recorded iteration on the same memory. What differs from one iteration to the next
is therefore written there before: the batch, the seeds of all draws, what schedules give. What changes the operations
themselves (a regularizer that joins every 16 iterations, a row of the log) makes another *phase*, recorded apart.
"""

from collections.abc import Callable, Hashable
from itertools import count
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sparring.randomness import generator, seed_of
from sparring.training.schedules import Replayed, Schedule

WARM_UP = 3  # iterations of a phase before it is recorded: libraries choose their kernels, optimizers make their state
PHASES = 16  # recordings that are kept


class Moment:
    """What of the clock an iteration reads: kimg for its schedules, seeds for its draws, its number for the log."""

    def __init__(self, kimg_at: Callable[[int], float]):
        self.kimg_at = kimg_at

    def kimg(self, iteration: int) -> float:
        return self.kimg_at(iteration)

    def number(self, iteration: int) -> int | Tensor:
        return iteration

    def generator(self, *key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
        return generator(*key, device=device)


class Renewed(Moment):
    """The same for an iteration that is recorded: generators and tensors that are set anew before each replay.

    Each run through the iteration asks for the same ones in the same order. A key's second part is the iteration, as in
    ``Batches.draws``.
    """

    def __init__(self, kimg_at: Callable[[int], float], device: torch.device):
        super().__init__(kimg_at)
        self.device = device
        self.generators: list[tuple[tuple, torch.Generator]] = []
        self.values: list[tuple[Callable[[int], float], Tensor]] = []

    def begin(self, iteration: int) -> None:
        """Everything as ``iteration`` has it; it is asked for from the start."""
        self.iteration = iteration
        self._generators_asked, self._values_asked = count(), count()
        for (first, _, *rest), each in self.generators:
            each.manual_seed(seed_of(first, iteration, *rest))
        for value, tensor in self.values:
            tensor.fill_(value(iteration))

    def kimg(self, iteration: int) -> float:
        ahead = iteration - self.iteration
        return Replayed(self.kimg_at(iteration), lambda schedule: self._follow(schedule, ahead))

    def number(self, iteration: int) -> Tensor:
        ahead = iteration - self.iteration
        return self._value(lambda now: float(now + ahead))

    def generator(self, *key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
        place = next(self._generators_asked)
        if place == len(self.generators):
            self.generators.append((key, generator(*key, device=device)))
        return self.generators[place][1]

    def _follow(self, schedule: Schedule, ahead: int) -> Tensor:
        return self._value(lambda now: schedule(self.kimg_at(now + ahead)))

    def _value(self, value: Callable[[int], float]) -> Tensor:
        place = next(self._values_asked)
        if place == len(self.values):
            self.values.append((value, torch.full((), value(self.iteration), device=self.device)))
        return self.values[place][1]


class Recorder(Protocol):
    """What records work without doing it, and does it as often as it is asked to."""

    def warm_up(self, work: Callable[[], None]) -> None: ...

    def record(self, work: Callable[[], None], generators: list[torch.Generator]) -> Callable[[], None]: ...


class CudaGraphs:
    """Records CUDA graphs, all on one stream and in one pool of memory: one of them runs at a time."""

    def __init__(self):
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], None]) -> None:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):  # gradients are added up on the stream that first did so
            work()
        torch.cuda.current_stream().wait_stream(self.stream)

    def record(self, work: Callable[[], None], generators: list[torch.Generator]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        for each in generators:
            graph.register_generator_state(each)
        # other threads (W&B's, say) may do what they like meanwhile
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
            work()
        return graph.replay


class Captured:
    """Runs iterations: those of a phase that is known by replaying it.

    Args:
        work: one iteration of a batch (columns in any nesting of dicts and lists), at a moment.
        kimg_at: kimg after so many iterations.
        device: where it computes.
        recorder: what records.
    """

    def __init__(
        self,
        work: Callable[[Any, int, Moment], None],
        kimg_at: Callable[[int], float],
        device: torch.device,
        recorder: Recorder,
    ):
        self.work, self.kimg_at, self.device, self.recorder = work, kimg_at, device, recorder
        self._phases: dict[Hashable, _Phase] = {}

    def __call__(self, batch: Any, iteration: int, phase: Hashable) -> None:
        known = self._phases.pop(phase, None) or _Phase(batch, Renewed(self.kimg_at, self.device))
        self._phases[phase] = known
        if len(self._phases) > PHASES:
            self._phases.pop(next(iter(self._phases)))  # that which was not met for longest
        known.run(batch, iteration, self)


class _Phase:
    """Iterations of the same operations."""

    def __init__(self, batch: Any, moment: Renewed):
        self.batch, self.moment = tree_map(torch.clone, batch), moment
        self.times = 0
        self.replay: Callable[[], None] | None = None

    def run(self, batch: Any, iteration: int, of: Captured) -> None:
        tree_map(lambda own, new: own.copy_(new), self.batch, batch)
        self.moment.begin(iteration)
        self.times += 1

        def work() -> None:
            of.work(self.batch, iteration, self.moment)

        if self.times <= WARM_UP:
            of.recorder.warm_up(work)
            return
        if self.replay is None:
            self.replay = of.recorder.record(work, [each for _, each in self.moment.generators])
            self.moment.begin(iteration)
        self.replay()
