"""Training by the engine next to a loop written by hand: images per second on the same machine, in turns."""

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
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sparring.benchmarks import photographs, timing
from sparring.benchmarks.baseline_loop import EQUATIONS, BaselineLoop
from sparring.benchmarks.commands import passed_on
from sparring.config.errors import UserError
from sparring.config.validation import check
from sparring.data import cache
from sparring.data.batches import Batches
from sparring.games.generation import Generation
from sparring.runs.metrics_file import MetricsFile
from sparring.training.adversarial_module import AdversarialModule
from sparring.training.build import build_game, build_module, check_machine, device_of, open_source
from sparring.training.callbacks.health import Health
from sparring.training.fit import build_trainer

FOLDER, MEMORY = "loop, ImageFolder", "loop, batches in memory"


class EngineInTurns(pl.Callback):
    """Runs a block of every other loop after each block of the engine's iterations; the first blocks are warm-up.

    The engine's time is all that passes between: its data, Lightning's loop and hooks, the log.
    """

    def __init__(self, loops: dict[str, BaselineLoop], iterations: int):
        self.loops, self.iterations = loops, iterations
        self.seconds: timing.Figures = {"engine": []} | {name: [] for name in loops}
        self.memory: dict[str, int] = {}  # peak bytes on the GPU, above what was allocated before
        self.flops = 0  # of the engine per iteration

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._first = ExitStack()
        self._first.enter_context(module.game.uncompiled())
        self._counter = self._first.enter_context(FlopCounterMode(display=False))
        self._begin(module.device)

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if module.iteration == 1:
            self._first.close()
            self.flops = self._counter.get_total_flops()
        if module.iteration % self.iterations:
            return
        self._end("engine", module.device)
        for name, loop in self.loops.items():
            self._begin(module.device)
            loop.iterate(self.iterations)
            self._end(name, module.device)
        if module.iteration == self.iterations:  # warm-up
            self.seconds = {name: [] for name in self.seconds}
        self._begin(module.device)

    def _begin(self, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._allocated = torch.cuda.memory_allocated(device)
        self._started = timing.now(device)

    def _end(self, name: str, device: torch.device) -> None:
        self.seconds[name].append(timing.now(device) - self._started)
        if device.type == "cuda":
            self.memory[name] = torch.cuda.max_memory_allocated(device) - self._allocated


def run(
    cfg: DictConfig,
    folder: Path,
    workloads: list[dict],
    on_gpu: list[dict],
    only: list[str] | None = None,
    seconds: timing.BlockSeconds = 2.0,
    rounds: timing.Rounds = 5,
    workers: photographs.Workers = 2,
    files: timing.Count = 2000,
    gpu: bool = False,
) -> None:
    """Time every workload; print and record (``benchmark.json``) images per second and the ratios of each round.

    Photographs are made from the data of ``cfg``; the other overrides of this command are set in every workload.
    conf/benchmark/training.yaml explains the arguments.

    Raises:
        UserError: ``only`` matches no workload, or there is no GPU.
    """
    device = device_of(cfg)
    if gpu and device.type != "cuda":
        raise UserError(
            "benchmark=gpu: there is no GPU (NVIDIA) that trainer= may use; benchmark=training measures this machine"
        )
    chosen = [w for w in workloads if only is None or any(part in w["name"] for part in only)]
    if not chosen:
        names = "; ".join(workload["name"] for workload in workloads)
        raise UserError(f"benchmark.only={only}: matches no workload; there are: {names}")
    entries = []
    with tempfile.TemporaryDirectory(prefix="sparring-") as temporary:
        pictures = photographs.write(cfg, Path(temporary) / "photographs", files)
        overrides = ["data=image_folder", f"data.path='{pictures}'", f"cache='{temporary}'"]
        overrides += ["evaluation=none", "logger=none"]
        passed = passed_on("data", "cache", "evaluation", "logger")
        for workload in chosen:
            for way in on_gpu if device.type == "cuda" else [{"name": "", "set": []}]:
                each = compose("config", overrides=[*overrides, *workload["set"], *way["set"], *passed])
                check(each)
                check_machine(each)
                entry = {"workload": workload["name"], "way": way["name"]}
                entry["peak_flops"] = matrix_product_flops(device, each.trainer.precision)
                entries.append(entry | compare(each, pictures, Path(temporary), seconds, rounds, workers))
                timing.show({"workload": entries[-1]})
    timing.record(folder, {"training": entries}, device)


def compare(cfg: DictConfig, pictures: Path, folder: Path, seconds: float, rounds: int, workers: int) -> dict:
    """Time one workload: the engine, and the baseline loop with either kind of data."""
    device, batch_size = device_of(cfg), cfg.data.batch_size
    data = cache.load(open_source(cfg), cfg.cache)
    game = build_game(cfg)
    if not isinstance(game, Generation) or type(game.loss) not in EQUATIONS:
        raise UserError(
            "benchmark=training: the baseline loop takes model=mlp, dcgan, resnet and loss=nonsaturating, hinge"
        )
    module = build_module(cfg, copy.deepcopy(game), data)
    optimizers = {player: settings.build for player, settings in module.player_optimizers.items()}
    settings = {"optimizers": optimizers, "n_dis": cfg.n_dis, "reuse_fakes": cfg.reuse_fakes, "device": device}
    loader = photographs.loader(pictures, cfg.data.image_size, batch_size, workers, device.type == "cuda")
    memory = _in_memory(Batches(data.columns, batch_size, cfg.seed).to(device), cfg.n_dis)
    loops = {
        FOLDER: BaselineLoop(game, (images for images, _ in loader), **settings),
        MEMORY: BaselineLoop(game, memory, **settings),
    }
    loops[MEMORY].iteration()  # warm-up
    iterations = max(math.ceil(seconds / timing.timed(loops[MEMORY].iteration, device)), 1)
    turns = EngineInTurns(loops, iterations)
    log = MetricsFile(folder / "metrics.csv", 0)
    build_trainer(cfg, (1 + rounds) * iterations, [log], [Health(), turns], folder).fit(module)
    return {
        "iterations": iterations,
        "images_per_second": timing.per_second(turns.seconds, iterations * module.clock.images_per_iteration),
        "ratios": {name: timing.ratios(turns.seconds["engine"], turns.seconds[name]) for name in loops},
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


def matrix_product_flops(device: torch.device, precision: str) -> float:
    """Return the operations per second of a large matrix product: what this device reaches at most."""
    size, dtype = (8192 if device.type == "cuda" else 2048), torch.bfloat16 if "bf16" in precision else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    _, *seconds = (timing.timed(lambda: a @ b, device) for _ in range(6))
    return 2 * size**3 / statistics.median(seconds)
