"""Iterations recorded as CUDA graphs and replayed: for networks whose kernels run faster than they launch.

A replay repeats the operations of the recorded iteration on the same memory. So what differs from one iteration to the
next is written to that memory before: the batch, the seeds of all draws, the numbers that the clock gives. An iteration
of other operations (a regularizer that joins every 16 iterations, a row of the log) needs another recording.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sparring.games.clock import Clock
from sparring.randomness import generator, seed_of

WARM_UP = 3  # runs of an iteration before it is recorded: libraries choose kernels, optimizers make their state
RECORDINGS = 16  # the latest, of which each holds memory
T = TypeVar("T")


@dataclass(eq=False)
class Recording:
    """An iteration: its batch, all that it read from the clock, in that order, and a function that replays it."""

    batch: Any
    numbers: list[tuple[Callable[[int], float], Tensor]] = field(default_factory=list)
    decisions: list[tuple[Callable[[int], Any], Any]] = field(default_factory=list)
    generators: list[tuple[tuple, torch.Generator]] = field(default_factory=list)
    runs: int = 0
    replay: Callable[[], None] | None = None

    def fits(self, iteration: int) -> bool:
        """Return whether ``iteration`` consists of the same operations."""
        return all(of_iteration(iteration) == value for of_iteration, value in self.decisions)


class RecordedClock(Clock):
    """A clock that keeps what it gives to an iteration, and renews it in place for the next iteration like it.

    Args:
        images_per_iteration: see Clock.
        device: where numbers are kept, as tensors ().
    """

    def __init__(self, images_per_iteration: int, device: torch.device):
        super().__init__(images_per_iteration)
        self.device = device

    def begin(self, recording: Recording) -> None:
        """Renew what a recording has read, for the current iteration."""
        self.recording, self._read = recording, Counter()
        for of_iteration, tensor in recording.numbers:
            tensor.fill_(of_iteration(self.iteration))
        for (first, _, *rest), each in recording.generators:  # the second part of a key is the iteration
            each.manual_seed(seed_of(first, self.iteration, *rest))

    def number(self, of_iteration: Callable[[int], float]) -> Tensor:
        def tensor() -> Tensor:
            return torch.full((), float(of_iteration(self.iteration)), device=self.device)

        return self._next("numbers", of_iteration, tensor)

    def decide(self, of_iteration: Callable[[int], T]) -> T:
        return self._next("decisions", of_iteration, lambda: of_iteration(self.iteration))

    def generator(self, *key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
        return self._next("generators", key, lambda: generator(*key, device=device))

    def _next(self, kind: str, question: Any, make: Callable[[], T]) -> T:
        """Return what the recording has in this place; in its first run make it."""
        answers, index = getattr(self.recording, kind), self._read[kind]
        self._read[kind] += 1
        if index == len(answers):
            answers.append((question, make()))
        return answers[index][1]


class CudaGraphs:
    """Records work as CUDA graphs, all on one stream and in one pool of memory: one of them runs at a time."""

    def __init__(self):
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], None]) -> None:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):  # gradients are added up on the stream that first did so
            work()
        torch.cuda.current_stream().wait_stream(self.stream)

    def record(self, work: Callable[[], None], generators: list[torch.Generator]) -> Callable[[], None]:
        """Return a function that repeats the work, with the numbers that these generators give then."""
        graph = torch.cuda.CUDAGraph()
        for each in generators:
            graph.register_generator_state(each)
        # "thread_local": other threads, such as W&B's, may use the GPU meanwhile
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
            work()
        return graph.replay


class RecordedIterations:
    """Runs iterations, and replays those whose operations are recorded.

    Args:
        run: one iteration of a batch (columns in any nesting of dicts and lists); it reads ``clock``.
        clock: set to an iteration before it is run.
        recorder: records it.
    """

    def __init__(self, run: Callable[[Any], None], clock: RecordedClock, recorder: CudaGraphs):
        self.run, self.clock, self.recorder = run, clock, recorder
        self.recordings: list[Recording] = []  # the latest last

    def __call__(self, batch: Any) -> None:
        recording = next((each for each in self.recordings if each.fits(self.clock.iteration)), None)
        if recording is None:
            recording = Recording(tree_map(torch.clone, batch))
        else:
            self.recordings.remove(recording)
        self.recordings = [*self.recordings, recording][-RECORDINGS:]

        tree_map(lambda own, new: own.copy_(new), recording.batch, batch)
        self.clock.begin(recording)
        recording.runs += 1
        if recording.runs <= WARM_UP:
            self.recorder.warm_up(lambda: self.run(recording.batch))
            return
        if recording.replay is None:
            generators = [each for _, each in recording.generators]
            recording.replay = self.recorder.record(lambda: self.run(recording.batch), generators)
            self.clock.begin(recording)
        recording.replay()
