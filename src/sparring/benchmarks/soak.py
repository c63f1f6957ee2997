"""What grows during a long run, or a long sweep in one process: memory, open files, threads, seconds per iteration."""

import csv
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
from omegaconf import DictConfig

from sparring.benchmarks.commands import RUN, passed_on, watch
from sparring.benchmarks.timing import CountOrNone, record, show

Sample = dict[str, float]  # what a process used at one moment; "done" says how much it had done by then
LONG = ["kimg=null", "evaluation.samples=200", "evaluation.samples_during=200", "evaluation.reals=200", "grid.count=16"]
SHORT = [*LONG, "trainer.max_steps=5", "trainer.log_every_n_steps=5"]


def run(cfg: DictConfig, folder: Path, run_iterations: CountOrNone = 10_000, sweep_jobs: CountOrNone = 200) -> None:
    """Print and record (``benchmark.json``) what a process uses while it trains, and its growth after the first tenth.

    The overrides of this command are passed on. conf/benchmark/soak.yaml explains the arguments.

    Raises:
        UserError: a command fails; the message holds its output.
    """
    own = passed_on()
    every = f"{run_iterations * cfg.n_dis * cfg.data.batch_size / 1000 / 100}"
    often = [f"{key}.every_kimg={every}" for key in ("evaluation", "grid", "checkpoint")]
    figures = {}
    with tempfile.TemporaryDirectory(prefix="sparring-") as temporary:
        one, many = Path(temporary, "run"), Path(temporary, "sweep")
        if run_iterations:
            command = [*LONG, *often, f"trainer.max_steps={run_iterations}", *own, f"hydra.run.dir={one}"]
            figures["run"] = use_of(command, lambda: max((int(row["iteration"]) for row in _rows(one)), default=0))
            rows = [row for row in _rows(one) if row["images_per_second"]]  # of training alone
            report(
                "iterations", figures["run"], [(int(r["iteration"]), 1 / float(r["images_per_second"])) for r in rows]
            )
        if sweep_jobs:
            command = ["-m", *SHORT, *own, f"seed=range(0,{sweep_jobs})", f"hydra.sweep.dir={many}"]
            figures["sweep"] = samples = use_of(command, lambda: len(list(many.glob("*/scores.json"))))
            pairs = [(a, b) for a, b in zip(samples, samples[1:], strict=False) if b["done"] > a["done"]]
            each = [(b["done"], (b["seconds"] - a["seconds"]) / (b["done"] - a["done"])) for a, b in pairs]
            report("jobs", samples, each)
    record(folder, figures)


def _rows(folder: Path) -> list[dict[str, str]]:
    if not (folder / "metrics.csv").exists():
        return []
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def use_of(command: list[str], done: Callable[[], float], every: float = 1.0) -> list[Sample]:
    """Run a command; return what its process used every so many seconds, once something was done."""
    samples: list[Sample] = []

    def look(process_id: int, seconds: float) -> bool:
        try:
            process = psutil.Process(process_id)
            if count := done():
                used = {"files": process.num_fds(), "threads": process.num_threads()}
                memory = process.memory_info().rss / 2**20
                if memory:  # else it is ending
                    samples.append({"done": count, "seconds": seconds, "MiB": memory} | used)
        except psutil.Error:
            pass  # it has just ended
        return False

    watch([*RUN, *command], look, every)
    return samples


def growth(values: list[tuple[float, float]]) -> float:
    """Return the growth of (done, value) as a share: median of the last tenth over that of the second tenth, less 1.

    NaN if there are too few values.
    """
    end = max(done for done, _ in values)
    second = [value for done, value in values if 0.1 * end <= done <= 0.2 * end]
    last = [value for done, value in values if done >= 0.9 * end]
    return statistics.median(last) / statistics.median(second) - 1 if last and second else math.nan


def report(unit: str, samples: list[Sample], seconds: list[tuple[float, float]]) -> None:
    """Print the growth of each quantity, and of the seconds of each unit."""
    values = {name: [(sample["done"], sample[name]) for sample in samples] for name in ("MiB", "files", "threads")}
    growths = {name: f"{growth(each):+.2%}" for name, each in (values | {"seconds each": seconds}).items()}
    show({unit: {"at the end": samples[-1], "growth after the first tenth": growths}})
