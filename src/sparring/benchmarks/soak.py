"""What grows as training goes on and on: memory, open files, threads, time an iteration.

python run.py task=benchmark benchmark=soak
"""

import csv
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sparring.benchmarks.startup import RUN
from sparring.benchmarks.timing import record
from sparring.config.errors import UserError

Sample = dict[str, float]  # what was seen at one moment, and how much was done by then
LONG = ["kimg=null", "evaluation.samples=200", "evaluation.samples_during=200", "evaluation.reals=200", "grid.count=16"]
SHORT = [*LONG, "trainer.max_steps=5", "trainer.log_every_n_steps=5"]


def run(cfg: DictConfig, folder: Path, run_iterations: int = 10_000, sweep_jobs: int = 200) -> None:
    """Print and keep (``benchmark.json``) what a process uses while the command runs, and its growth after the first tenth.

    Args:
        cfg: only what was set in this command is passed on; ``data.batch_size`` decides how often a run is scored.
        folder: where the figures are written.
        run_iterations: of one run; 0 for none.
        sweep_jobs: of one sweep in one process; 0 for none.

    Raises:
        UserError: the command failed; it is told what it said.
    """
    own = [o for o in HydraConfig.get().overrides.task if not o.startswith(("task=", "benchmark"))]
    every = f"{run_iterations * cfg.n_dis * cfg.data.batch_size / 1000 / 100}"
    often = [f"{key}.every_kimg={every}" for key in ("evaluation", "grid", "checkpoint")]
    found = {}
    with tempfile.TemporaryDirectory(prefix="sparring-") as place:
        one, many = Path(place, "run"), Path(place, "sweep")
        if run_iterations:
            command = [*LONG, *often, f"trainer.max_steps={run_iterations}", *own, f"hydra.run.dir={one}"]
            found["run"] = watched(command, lambda: _iterations(one / "metrics.csv"), Path(place))
            told("iterations", found["run"], _seconds(one / "metrics.csv"))
        if sweep_jobs:
            command = ["-m", *SHORT, *own, f"seed=range(0,{sweep_jobs})", f"hydra.sweep.dir={many}"]
            found["sweep"] = watched(command, lambda: len(list(many.glob("*/scores.json"))), Path(place))
            told("jobs", found["sweep"])
    record(folder, found)


def watched(command: list[str], done: Callable[[], float], place: Path, every: float = 1.0) -> list[Sample]:
    """What a command's process uses, every so many seconds while it has begun and not ended to do what it does."""
    samples: list[Sample] = []
    said = place / "said"
    with (
        open(said, "wb") as file,
        subprocess.Popen([sys.executable, RUN, *command], stdout=file, stderr=file) as process,
    ):
        watched, started = psutil.Process(process.pid), time.perf_counter()
        while process.poll() is None:
            if at := done():
                samples.append({"done": at, "seconds": time.perf_counter() - started} | _used(watched))
            time.sleep(every)
    if process.returncode:
        raise UserError(f"run.py {' '.join(command)} failed:\n{said.read_text()[-2000:]}")
    return [sample for sample in samples if "MiB" in sample]


def growth(samples: list[Sample], name: str) -> float:
    """Of a quantity from the second tenth of all that was done to the last one, medians, as a share."""
    end = max(sample["done"] for sample in samples)
    second = [s[name] for s in samples if 0.1 * end <= s["done"] <= 0.2 * end]
    last = [s[name] for s in samples if s["done"] >= 0.9 * end]
    return statistics.median(last) / statistics.median(second) - 1 if last and second else math.nan  # too short


def told(what: str, samples: list[Sample], seconds: list[Sample] | None = None) -> None:
    """A line for each quantity."""
    end = samples[-1]
    print(f"  {end['done']:,.0f} {what} in {end['seconds']:,.0f} s, growth after the first tenth:")
    for name in ("MiB", "files", "threads"):
        print(f"    {name:<12}{growth(samples, name):+8.2%}   {end[name]:,.0f} at the end")
    seconds = seconds or [
        {"done": b["done"], "seconds": (b["seconds"] - a["seconds"]) / (b["done"] - a["done"])}
        for a, b in zip(samples, samples[1:], strict=False)
        if b["done"] > a["done"]
    ]
    print(f"    {'seconds':<12}{growth(seconds, 'seconds'):+8.2%}   of each")


def _used(process: psutil.Process) -> Sample:
    try:
        with process.oneshot():
            memory = process.memory_info().rss / 2**20
            return {"MiB": memory, "files": process.num_fds(), "threads": process.num_threads()}
    except psutil.Error:
        return {}  # it has just ended


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _iterations(path: Path) -> int:
    rows = _rows(path)
    return int(rows[-1]["iteration"]) if rows else 0


def _seconds(path: Path) -> list[Sample]:
    """Of training alone, an image."""
    told = [row for row in _rows(path) if row["images_per_second"]]
    return [{"done": int(row["iteration"]), "seconds": 1 / float(row["images_per_second"])} for row in told]
