"""Kill training at random moments, resume it, and compare with a run that was not interrupted.

``python tests/faults.py --points 20`` tries that many moments and prints what happened;
``tests/training/test_faults.py`` tries a few. At each a run is ended by ``kill -9`` once something is under way and
resumed. Weights, average and optimizers must be equal bit for bit, and so must rows of the log and scores.
"""

import argparse
import csv
import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import commands

EVERY = 0.48  # kimg between checkpoints
SETTINGS = ["model=mlp", "model.width=8", "model.discriminator.dropout=0.3", "data.batch_size=16", "kimg=4.8"]
SETTINGS += ["evaluation.samples_during=500", "evaluation.samples=1000", "evaluation.reals=500", "logger=csv"]
SETTINGS += ["grid.count=16", "trainer.log_every_n_steps=7"]
SETTINGS += [f"{group}.every_kimg={EVERY}" for group in ("checkpoint", "evaluation", "grid")]
MOMENTS = ("cache", "start", "anytime", "checkpoint", "evaluation", "last evaluation")
VICTIMS = ("launcher", "rank 0", "rank 1")


@dataclass
class Outcome:
    """What happened when a run was killed."""

    moment: str
    victim: str
    under_way: bool  # whether the moment was met
    killed_at: int  # the last iteration in its log
    resumed_at: int
    same: bool  # whether the resumed run equals one that was not interrupted

    @property
    def repeated(self) -> float:
        """Training done twice, in kimg."""
        return max(self.killed_at - self.resumed_at, 0) * 0.016


class Faults:
    """Runs of one kind that are killed and resumed.

    Args:
        folder: where they are stored.
        ranks: 1, or more with DDP.
    """

    def __init__(self, folder: Path, ranks: int = 1):
        self.folder, self.ranks, self.settings = folder, ranks, list(SETTINGS)
        if ranks > 1:
            self.settings += ["trainer=ddp_cpu", f"trainer.devices={ranks}", "data.batch_size=8"]
        commands.run(*self.settings, "hydra.run.dir=whole", f"cache={folder}/cache", cwd=folder)
        self.whole = contents(folder / "whole")

    def kill_and_resume(self, name: str, moment: str, draw: random.Random, victim: str = "launcher") -> Outcome:
        """Kill a run ``name`` at a moment, resume it, and compare."""
        run = self.folder / name
        cache = run.with_name(f"{name}-cache") if moment == "cache" else self.folder / "cache"
        process = commands.start(*self.settings, f"hydra.run.dir={name}", f"cache={cache}", cwd=self.folder)
        under_way = self._wait(moment, run, cache, draw, process.is_alive)
        os.kill(self._process_of(victim, process.pid), signal.SIGKILL)
        process.join(60)
        killed_at = max([0, *(int(row["iteration"]) for row in rows(run))])
        done = commands.run(f"resume={name}", f"cache={cache}", cwd=self.folder, timeout=200)
        resumed_at = int((done.stdout + done.stderr).partition("resuming at iteration ")[2].partition(",")[0])
        return Outcome(moment, victim, under_way, killed_at, resumed_at, contents(run) == self.whole)

    def _wait(self, moment: str, run: Path, cache: Path, draw: random.Random, alive: Callable[[], bool]) -> bool:
        """Wait for the moment; return whether what it is named after is under way."""

        def until(condition: Callable[[], object]) -> bool:
            end = time.monotonic() + 120
            while not condition() and alive():
                assert time.monotonic() < end, moment
                time.sleep(0.0005)
            return alive()

        checkpoints, count = run / "checkpoints", draw.randint(1, 9)
        until((run / "config.yaml").exists)
        if moment == "cache":
            return until(lambda: any((cache / "datasets").glob(".*.partial")))
        if moment == "start":
            time.sleep(draw.uniform(0, 1))
            return alive()
        if moment == "anytime":
            until((checkpoints / "last.ckpt").exists)
            time.sleep(draw.uniform(0, 4))
            return alive()
        if moment == "checkpoint":
            until(lambda: len(grids(run)) > count)
            return until(lambda: any(checkpoints.glob(".kimg-*.partial")))
        if moment == "last evaluation":
            count = 10
        until(lambda: (checkpoints / f"kimg-{count * EVERY:011.3f}.ckpt").exists())
        time.sleep(draw.uniform(0, 0.1))
        return alive() and len(entries(run)) <= count + (count == 10)

    def _process_of(self, victim: str, launcher: int) -> int:
        return launcher if victim == "launcher" or self.ranks == 1 else ranks_of(launcher)[int(victim[-1])]


def ranks_of(launcher: int) -> list[int]:
    """The process numbers of the ranks that a process started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return sorted(int(c) for c in children if b"--multiprocessing-fork" in Path(f"/proc/{c}/cmdline").read_bytes())


def rows(run: Path) -> list[dict[str, str]]:
    """The log of a run, without its speed."""
    path = run / "metrics.csv"
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]


def entries(run: Path) -> list[dict]:
    path = run / "scores.json"
    return json.loads(path.read_text()) if path.exists() else []


def grids(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "samples").glob("*.png"))


def contents(run: Path) -> dict:
    """All of a run that must not depend on interruptions; tensors as bytes."""

    def plain(value):
        if isinstance(value, torch.Tensor):
            return value.numpy().tobytes()
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return [plain(each) for each in value] if isinstance(value, list | tuple) else value

    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return {
        "checkpoint": {key: plain(stored[key]) for key in ("state_dict", "optimizer_states", "global_step", "meter")},
        "checkpoints": sorted(path.name for path in (run / "checkpoints").iterdir()),
        "rows": rows(run),
        "scores": [(entry["iteration"], entry["scores"], entry.get("kept_as")) for entry in entries(run)],
        "samples": {name: (run / "samples" / name).read_bytes() for name in grids(run)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--points", 20), ("--ranks", 1), ("--seed", 0)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    draw, bad = random.Random(options.seed), 0
    with TemporaryDirectory() as folder:
        faults = Faults(Path(folder), options.ranks)
        for i in range(options.points):
            victim = VICTIMS[i % 3] if options.ranks > 1 else "launcher"
            outcome = faults.kill_and_resume(f"run{i}", MOMENTS[i % len(MOMENTS)], draw, victim)
            bad += not outcome.same or outcome.repeated > EVERY + 1e-9
            print(i, outcome, f"{outcome.repeated:.3f} kimg repeated", flush=True)
    print(f"{options.points - bad} of {options.points} as if nothing had happened")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
