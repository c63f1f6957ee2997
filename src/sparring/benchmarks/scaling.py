"""What many ranks cost: time a turn, bytes of gradients, the share of communication, and what follows for more GPUs."""

import statistics
import time
from collections import defaultdict
from itertools import cycle, islice
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import nn

from sparring.benchmarks.timing import record
from sparring.data import cache
from sparring.distributed.collectives import barrier, rank, world_size
from sparring.training.adversarial_module import AdversarialModule
from sparring.training.build import build_game, build_module, open_source
from sparring.training.fit import build_trainer

KINDS = ("together", "apart", "timed")


class Measured(AdversarialModule):
    """Trains in blocks of iterations: ranks together, each apart (no gradients averaged), together with a clock in every turn."""

    blocks: list[str]
    iterations: int

    def start(self, iterations: int, rounds: int) -> "Measured":
        self.iterations, self.blocks = iterations, ["warm-up", *islice(cycle(KINDS), rounds * len(KINDS))]
        self.seconds: dict[str, list[float]] = defaultdict(list)  # of a block, by its kind
        self.turn_seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.turn_bytes: dict[str, int] = {}
        self.sent = 0
        self.log_every = len(self.blocks) * iterations + 1  # no row of the log on the way
        return self

    def training_step(self, batch, index) -> None:
        block, place = divmod(self.iteration, self.iterations)
        if place == 0:
            self.kind, self.sent = self.blocks[block], 0
            barrier()
            self._started = self._now()
        super().training_step(batch, index)
        if place == self.iterations - 1:
            self.seconds[self.kind].append(self._now() - self._started)
            if self.kind == "together":
                self.bytes_an_iteration = self.sent // self.iterations

    def take_turn(self, player, turns) -> None:
        self._player, started = player, self._now() if self.kind == "timed" else 0.0
        super().take_turn(player, turns)
        if self.kind == "timed":
            self.turn_seconds[player]["whole"].append(self._now() - started)

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        if self.kind == "apart":
            return
        size = sum(p.grad.numel() * p.grad.element_size() for p in parameters if p.grad is not None)
        self.sent, self.turn_bytes[self._player] = self.sent + size, size
        if self.kind != "timed":
            return super().average_gradients(parameters)
        before = self._now()
        barrier()
        begun = self._now()
        super().average_gradients(parameters)
        self.turn_seconds[self._player]["averaging"].append(self._now() - begun)
        self.turn_seconds[self._player]["waiting"].append(begun - before)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def run(
    cfg: DictConfig,
    folder: Path,
    iterations: int = 20,
    rounds: int = 5,
    gpus: tuple[int, ...] = (8, 64),
    bandwidth_gb: tuple[float, ...] = (200.0, 40.0),
    latency_us: float = 10.0,
) -> None:
    """Train the configured game for a while; print and keep (``benchmark.json``) what its ranks cost.

    Args:
        cfg: the experiment.
        folder: where the figures are written.
        iterations: in a block.
        rounds: each has a block of ranks together, of ranks apart, and one with a clock in every turn.
        gpus: world sizes to project to.
        bandwidth_gb: GB/s at which each of them sends and receives at once, assumed.
        latency_us: of each of a ring's 2(n - 1) hops, assumed.
    """
    data = cache.load(open_source(cfg), cfg.cache)
    module = build_module(cfg, build_game(cfg), data, Measured).start(iterations, rounds)
    build_trainer(cfg, iterations * len(module.blocks), [], [], folder).fit(module)
    if rank() > 0:
        return
    sizes = {player: sum(p.numel() for p in owned) for player, owned in module.owned.items()}
    digits = next(module.parameters()).element_size()
    expected = sum(turns * sizes[player] for player, turns in module.turns.items()) * digits
    turns = {
        player: {part: 1000 * statistics.median(values) for part, values in parts.items()}
        | {"bytes": module.turn_bytes[player]}
        for player, parts in module.turn_seconds.items()
    }
    milliseconds = {kind: [1000 * s / iterations for s in module.seconds[kind]] for kind in KINDS}
    ratios = [apart / together for apart, together in zip(milliseconds["apart"], milliseconds["together"], strict=True)]
    compute = statistics.median(milliseconds["apart"])
    projection = [
        _project(n, gb, compute, latency_us, module, cfg.data.batch_size)
        for n, gb in zip(gpus, bandwidth_gb, strict=True)
    ]
    found = {
        "ranks": world_size(),
        "device": str(module.device),
        "parameters": sizes,
        "turns_ms": turns,
        "iteration_ms": milliseconds,
        "efficiency": ratios,
        "gradient_bytes_an_iteration": module.bytes_an_iteration,
        "expected_bytes_an_iteration": expected,
        "projection": projection,
    }
    _print(found, module, cfg.data.batch_size, latency_us)
    record(folder, found, module.device)


def _project(n: int, gb: float, compute: float, latency_us: float, module: Measured, batch_size: int) -> dict:
    """A ring sends 2(n - 1)/n of the bytes through each rank, in 2(n - 1) hops (Patarasu & Yuan 2009)."""
    reductions = sum(module.turns.values())
    sending = 1000 * 2 * (n - 1) / n * module.bytes_an_iteration / (gb * 1e9)
    hops = reductions * 2 * (n - 1) * latency_us / 1000
    iteration = compute + sending + hops
    images = n * batch_size * module.turns[next(iter(module.turns))] / iteration * 1000
    return {
        "gpus": n,
        "bandwidth_gb": gb,
        "sending_ms": sending,
        "hops_ms": hops,
        "iteration_ms": iteration,
        "images_per_second": images,
        "efficiency": compute / iteration,
    }


def _print(found: dict, module: Measured, batch_size: int, latency_us: float) -> None:
    n, together = found["ranks"], statistics.median(found["iteration_ms"]["together"])
    kind = torch.cuda.get_device_name() if module.device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"\n{n} rank{'s'[: n > 1]} on {kind}, batch {batch_size} each; medians, in milliseconds\n")
    print(f"  {'turn':<16}{'times':>6}{'whole':>10}{'waiting':>10}{'averaging':>11}{'MB averaged':>14}")
    for player, turn in found["turns_ms"].items():
        row = f"{turn['whole']:>10.2f}{turn['waiting']:>10.2f}{turn['averaging']:>11.2f}{turn['bytes'] / 1e6:>14.3f}"
        print(f"  {player:<16}{module.turns[player]:>6}{row}")
    ratios, sent, expected = found["efficiency"], *(found[f"{k}_bytes_an_iteration"] for k in ("gradient", "expected"))
    share = 1 - statistics.median(ratios)
    speed = n * batch_size * module.turns[next(iter(module.turns))] / together * 1000
    print(f"\nAn iteration takes {together:.2f} ms, {speed:,.0f} images/s in all.")
    print(
        f"Communication is {share:.1%} of it: paired with the same ranks apart, whose speed they reach to {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} rounds)."
    )
    equal = "=" if sent == expected else "but"
    print(
        f"Gradients averaged an iteration: {sent:,} bytes {equal} {expected:,}, what the parameters trained in its turns take."
    )
    print("\nProjection (not a measurement):")
    for p in found["projection"]:
        print(
            f"  {p['gpus']:>4} GPUs at {p['bandwidth_gb']:g} GB/s: {p['iteration_ms']:.2f} ms, {p['images_per_second']:,.0f} images/s, "
            f"efficiency {p['efficiency']:.3f} (sending {p['sending_ms']:.2f} ms, hops {p['hops_ms']:.2f} ms)"
        )
    print(
        f"It assumes that every GPU computes as this {module.device.type} does with the same batch, a ring all-reduce after every turn that "
        f"nothing hides, {latency_us:g} us a hop, no stragglers, and data and evaluation for free."
    )
