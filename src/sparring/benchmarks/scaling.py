"""What many ranks cost: time per turn, bytes of gradients, the share of communication, a projection to more GPUs."""

from collections import defaultdict
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Annotated

from omegaconf import DictConfig
from pydantic import Field, NonNegativeFloat
from torch import nn

from sparring.benchmarks.timing import Rounds, now, ratios, record, show, timed
from sparring.data import cache
from sparring.distributed.collectives import barrier, rank, world_size
from sparring.training.adversarial_module import AdversarialModule
from sparring.training.build import build_game, build_module, open_source
from sparring.training.fit import build_trainer

KINDS = ("together", "apart", "timed")  # ranks together, each apart (no gradients averaged), a clock in every turn


class Measured(AdversarialModule):
    """Trains in blocks of iterations: a warm-up, then the ``KINDS`` in turns."""

    def plan_blocks(self, iterations: int, rounds: int) -> None:
        self.iterations, self.blocks = iterations, ["warm-up", *islice(cycle(KINDS), rounds * len(KINDS))]
        self.log_every = len(self.blocks) * iterations + 1  # no row of the log before the end
        self.block_seconds: dict[str, list[float]] = defaultdict(list)  # by kind
        self.turn_seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.turn_bytes: dict[str, int] = {}

    def training_step(self, batch, index) -> None:
        block, position = divmod(self.iteration, self.iterations)
        if position == 0:
            self.kind = self.blocks[block]
            barrier()
            self._started = now(self.device)
        super().training_step(batch, index)
        if position == self.iterations - 1:
            self.block_seconds[self.kind].append(now(self.device) - self._started)

    def take_turn(self, player, turns) -> None:
        self._player = player
        self._measure("whole", lambda: super(Measured, self).take_turn(player, turns))

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        if self.kind == "apart":
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        self.turn_bytes[self._player] = sum(g.numel() * g.element_size() for g in gradients)
        if self.kind == "timed":
            self._measure("waiting", barrier)
        self._measure("averaging", lambda: super(Measured, self).average_gradients(parameters))

    def _measure(self, part: str, work: Callable[[], None]) -> None:
        if self.kind == "timed":
            self.turn_seconds[self._player][part].append(timed(work, self.device))
        else:
            work()


def run(
    cfg: DictConfig,
    folder: Path,
    iterations: Annotated[int, Field(ge=1, le=10_000)] = 20,
    rounds: Rounds = 5,
    gpus: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = (8, 64),
    bandwidth_gb: tuple[NonNegativeFloat, ...] = (200.0, 40.0),
    latency_us: NonNegativeFloat = 10.0,
) -> None:
    """Train the configured game for a while; print and record (``benchmark.json``) what its ranks cost.

    conf/benchmark/scaling.yaml explains the arguments.
    """
    data = cache.load(open_source(cfg), cfg.cache)
    module = build_module(cfg, build_game(cfg), data, Measured)
    assert isinstance(module, Measured)
    module.plan_blocks(iterations, rounds)
    build_trainer(cfg, iterations * len(module.blocks), [], [], folder).fit(module)
    if rank() > 0:
        return
    sizes = {
        player: sum(p.numel() for p in nn.ModuleList(networks).parameters() if p.requires_grad)
        for player, networks in module.game.players.items()
    }
    digits = next(module.parameters()).element_size()
    milliseconds = {kind: [1000 * s / iterations for s in module.block_seconds[kind]] for kind in KINDS}
    sent = sum(count * module.turn_bytes[player] for player, count in module.turns.items())
    images = module.clock.images_per_iteration // world_size()
    ring = {"compute": median(milliseconds["apart"]), "bytes_sent": sent, "images": images}
    ring |= {"reductions": sum(module.turns.values()), "latency_us": latency_us}
    figures = {
        "ranks": world_size(),
        "device": str(module.device),
        "parameters": sizes,
        "turns_ms": {
            player: {part: 1000 * median(values) for part, values in parts.items()}
            | {"bytes": module.turn_bytes[player]}
            for player, parts in module.turn_seconds.items()
        },
        "iteration_ms": milliseconds,
        "efficiency": ratios(milliseconds["together"], milliseconds["apart"]),
        "gradient_bytes_an_iteration": sent,
        "expected_bytes_an_iteration": digits * sum(n * sizes[player] for player, n in module.turns.items()),
        "projection": [project(n, gb, **ring) for n, gb in zip(gpus, bandwidth_gb, strict=True)],
    }
    show(figures)
    print("The projection assumes a ring all-reduce after every turn that nothing hides, and no stragglers.")
    record(folder, figures, module.device)


def project(
    gpus: int, bandwidth_gb: float, compute: float, bytes_sent: int, images: int, reductions: int, latency_us: float
) -> dict:
    """Project an iteration to more GPUs: a ring all-reduce after every turn that nothing hides.

    A ring sends 2(n - 1)/n of the bytes through each rank, in 2(n - 1) hops (Patarasu & Yuan 2009).

    Args:
        gpus: the world size n.
        bandwidth_gb: GB/s at which each of them sends and receives at once.
        compute: milliseconds of an iteration without communication.
        bytes_sent: bytes of gradients in an iteration.
        images: of a rank in an iteration.
        reductions: turns in an iteration.
        latency_us: of a hop.
    """
    sending = 1000 * 2 * (gpus - 1) / gpus * bytes_sent / (bandwidth_gb * 1e9)
    hops = reductions * 2 * (gpus - 1) * latency_us / 1000
    iteration = compute + sending + hops
    return {
        "gpus": gpus,
        "bandwidth_gb": bandwidth_gb,
        "sending_ms": sending,
        "hops_ms": hops,
        "iteration_ms": iteration,
        "images_per_second": 1000 * gpus * images / iteration,
        "efficiency": compute / iteration,
    }
