"""Training by the engine beside a loop written by hand: images per second, on the same machine, in turns."""

import copy
import math
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sparring.benchmarks import photographs
from sparring.benchmarks.baseline_loop import PlainLoop
from sparring.benchmarks.timing import now, ratios, record, spread
from sparring.config.errors import UserError
from sparring.config.validation import check
from sparring.data import cache
from sparring.data.batches import Batches
from sparring.runs.metrics_file import MetricsFile
from sparring.training.adversarial_module import AdversarialModule
from sparring.training.build import build_game, build_module, check_machine, device_of, open_source
from sparring.training.callbacks.health import Health
from sparring.training.fit import build_trainer

OWN = ("task=", "benchmark", "data", "cache", "evaluation", "logger")  # not passed on to the workloads
FOLDER, MEMORY = "loop, ImageFolder", "loop, batches in memory"


class InTurns(pl.Callback):
    """Between two blocks of the engine's iterations every other loop has one of as many. The first blocks are warm-up.

    The engine's time is all that lies between: its data, Lightning's loop and hooks, the log.
    """

    def __init__(self, others: dict[str, PlainLoop], iterations: int):
        self.others, self.iterations = others, iterations
        self.seconds: dict[str, list[float]] = {"engine": []} | {name: [] for name in others}
        self.memory: dict[str, int] = {}  # bytes on the GPU above what lay there, at the most
        self.flops = 0  # of an iteration of the engine

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._begin(module.device)

    def on_train_batch_start(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if module.iteration == 0:
            self._first = ExitStack()
            self._first.enter_context(module.game.uncompiled())
            self._counter = self._first.enter_context(FlopCounterMode(display=False))

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if module.iteration == 1:
            self._first.close()
            self.flops = self._counter.get_total_flops()
        if module.iteration % self.iterations:
            return
        warm_up = module.iteration == self.iterations
        self._end("engine", module.device, warm_up)
        for name, loop in self.others.items():
            self._begin(module.device)
            loop.iterate(self.iterations)
            self._end(name, module.device, warm_up)
        self._begin(module.device)

    def _begin(self, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._held = torch.cuda.memory_allocated(device)
        self._started = now(device)

    def _end(self, name: str, device: torch.device, warm_up: bool) -> None:
        if not warm_up:
            self.seconds[name].append(now(device) - self._started)
        if device.type == "cuda":
            self.memory[name] = torch.cuda.max_memory_allocated(device) - self._held


def run(
    cfg: DictConfig,
    folder: Path,
    workloads: list[dict],
    on_gpu: list[dict],
    only: list[str] | None = None,
    seconds: float = 2.0,
    rounds: int = 5,
    workers: int = 2,
    files: int = 2000,
    gpu: bool = False,
) -> None:
    """Time every workload; print and keep (``benchmark.json``) images per second and the ratios of each round.

    Args:
        cfg: of its data a folder of photographs is made, which all workloads are trained on; what else was typed is set in
            each of them.
        folder: where the figures are written.
        workloads: each its ``name`` and what is ``set`` beside the defaults.
        on_gpu: likewise, ways to train each of them there.
        only: names of workloads, or parts of them; None for all.
        seconds: that a block lasts at least.
        rounds: each has a block of every way.
        workers: of the DataLoader.
        files: photographs.
        gpu: nothing is to be measured without one.

    Raises:
        UserError: no workload is meant, or there is no GPU.
    """
    device = device_of(cfg)
    if gpu and device.type != "cuda":
        raise UserError(
            "benchmark=gpu: there is no GPU (NVIDIA) that trainer= may use; benchmark=training measures this machine"
        )
    chosen = [w for w in workloads if only is None or any(part in w["name"] for part in only)]
    if not chosen:
        raise UserError(
            f"benchmark.only={only}: no workload is called so; there are: " + "; ".join(w["name"] for w in workloads)
        )
    ways = on_gpu if device.type == "cuda" else [{"name": "", "set": []}]
    found = []
    with tempfile.TemporaryDirectory(prefix="sparring-") as place:
        pictures = photographs.write(cfg, Path(place) / "photographs", files)
        common = ["data=image_folder", f"data.path='{pictures}'", f"cache='{place}'", "evaluation=none", "logger=none"]
        typed = [o for o in HydraConfig.get().overrides.task if not o.startswith(OWN)]
        for workload in chosen:
            for way in ways:
                each = compose("config", overrides=[*common, *workload["set"], *way["set"], *typed])
                check(each)
                check_machine(each)
                peak = _matrix_product(device, each.trainer.precision)
                entry = _compare(each, pictures, Path(place), seconds, rounds, workers)
                found.append({"workload": workload["name"], "way": way["name"], "peak_flops": peak} | entry)
                _print(found[-1])
    record(folder, {"training": found}, device)


def _compare(cfg: DictConfig, pictures: Path, place: Path, seconds: float, rounds: int, workers: int) -> dict:
    """One workload: the engine, and the plain loop with either kind of data."""
    device = device_of(cfg)
    data = cache.load(open_source(cfg), cfg.cache)
    game = build_game(cfg)
    size, batch_size = cfg.data.image_size, cfg.data.batch_size
    loader = photographs.loader(pictures, size, batch_size, workers, device.type == "cuda")
    module = build_module(cfg, copy.deepcopy(game), data)
    optimizers = {player: settings.build for player, settings in module.player_optimizers.items()}
    settings = {"optimizers": optimizers, "n_dis": cfg.n_dis, "reuse_fakes": cfg.reuse_fakes, "device": device}
    memory = _in_memory(Batches(data.columns, batch_size, cfg.seed).to(device), cfg.n_dis)
    others = {
        FOLDER: PlainLoop(game, (images for images, _ in loader), **settings),
        MEMORY: PlainLoop(game, memory, **settings),
    }
    others[MEMORY].iterate(1)
    started = now(device)
    others[MEMORY].iterate(1)
    iterations = max(math.ceil(seconds / (now(device) - started)), 1)
    turns = InTurns(others, iterations)
    callbacks = [Health(), turns]
    log = MetricsFile(place / "metrics.csv", 0)
    build_trainer(cfg, (1 + rounds) * iterations, [log], callbacks, place).fit(module)
    images = iterations * module.clock.images_per_iteration
    return {
        "iterations": iterations,
        "images_per_second": {name: [images / s for s in each] for name, each in turns.seconds.items()},
        "ratios": {name: ratios(turns.seconds["engine"], turns.seconds[name]) for name in others},
        "memory": turns.memory,
        "flops": turns.flops,
        "flops_per_second": turns.flops * iterations / statistics.median(turns.seconds["engine"]),
    }


def _in_memory(batches: Batches, n_dis: int) -> Iterator[Tensor]:
    iteration = 0
    while True:
        for turn in range(n_dis):
            images = batches.batch("discriminator", iteration, turn, n_dis)["images"]
            yield images.float().div_(127.5).sub_(1)
        iteration += 1


def _matrix_product(device: torch.device, precision: str) -> float:
    """Operations a second of a large matrix product, what can be reached here at the most."""
    size, dtype = (8192 if device.type == "cuda" else 2048), torch.bfloat16 if "bf16" in precision else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    taken = []
    for _ in range(6):
        started = now(device)
        a @ b
        taken.append(now(device) - started)
    return 2 * size**3 / statistics.median(taken[1:])


def _print(entry: dict) -> None:
    print(f"\n{entry['workload']}{entry['way'] and ', '}{entry['way']}", flush=True)
    for name, speeds in entry["images_per_second"].items():
        beside = f"   engine {spread(entry['ratios'][name], ',.2f')} x" if name in entry["ratios"] else ""
        memory = f"   {entry['memory'][name] / 2**20:,.0f} MiB" if entry["memory"] else ""
        print(f"  {name:<24}{statistics.median(speeds):>10,.1f} images/s{memory}{beside}")
    share = entry["flops_per_second"] / entry["peak_flops"]
    print(
        f"  the engine's layers do {entry['flops_per_second'] / 1e9:,.0f} GFLOP/s, {share:.0%} of a large matrix product's "
        f"{entry['peak_flops'] / 1e9:,.0f}"
    )
