"""Training is killed at random moments and gone on with; nothing may be lost by it.

``python tests/faults.py --points 20`` tries so many and prints what it saw; ``tests/test_faults.py`` tries a few. At each point a
run is ended by ``kill -9`` as soon as something is under way, ``resume=`` goes on with it, and it is laid beside one that nobody
killed: weights, average and optimizers bit for bit, rows of the log, scores.
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

EVERY = 0.48  # kimg: a snapshot interval
SETTINGS = [
    *("model=mlp", "model.width=8", "data.batch_size=16", "kimg=4.8", f"checkpoint.every_kimg={EVERY}", "logger=csv"),
    *(f"evaluation.every_kimg={EVERY}", f"grid.every_kimg={EVERY}", "grid.count=16", "trainer.log_every_n_steps=7"),
    *(
        "evaluation.samples_during=500",
        "evaluation.samples=1000",
        "evaluation.reals=500",
        "model.discriminator.dropout=0.3",
    ),
]
MOMENTS = ("cache", "start", "anytime", "checkpoint", "evaluation", "last evaluation")
VICTIMS = ("launcher", "rank 0", "rank 1")


@dataclass
class Seen:
    """What happened at a point."""

    moment: str
    victim: str
    under_way: bool  # what it was to be killed in
    killed_at: int  # the last iteration that it logged
    went_on_at: int
    same: bool

    @property
    def repeated(self) -> float:
        """In kimg."""
        return max(self.killed_at - self.went_on_at, 0) * 0.016


class Faults:
    """Points of one kind of run.

    Args:
        folder: in which runs are made.
        ranks: 1, or more under DDP.
    """

    def __init__(self, folder: Path, ranks: int = 1):
        self.folder, self.ranks = folder, ranks
        self.settings = (
            SETTINGS if ranks == 1 else [*SETTINGS, "trainer=ddp_cpu", f"trainer.devices={ranks}", "data.batch_size=8"]
        )
        commands.run(*self.settings, "hydra.run.dir=whole", f"cache={folder}/cache", cwd=folder)
        self.whole = contents(folder / "whole")

    def point(self, name: str, moment: str, chance: random.Random, victim: str = "launcher") -> Seen:
        """Kill a run ``name`` in a moment of a kind, go on with it, and compare."""
        place = self.folder / name
        cache = place.with_name(f"{name}-cache") if moment == "cache" else self.folder / "cache"
        process = commands.start(*self.settings, f"hydra.run.dir={name}", f"cache={cache}", cwd=self.folder)
        under_way = self._wait(moment, place, cache, chance, process.is_alive)
        os.kill(self._process(victim, process.pid), signal.SIGKILL)
        process.join(60)
        killed_at = max([0, *(int(row["iteration"]) for row in rows(place))])
        done = commands.run(f"resume={name}", f"cache={cache}", cwd=self.folder, timeout=200)
        went_on_at = int((done.stdout + done.stderr).partition("resuming at iteration ")[2].partition(",")[0])
        return Seen(moment, victim, under_way, killed_at, went_on_at, contents(place) == self.whole)

    def _wait(self, moment: str, place: Path, cache: Path, chance: random.Random, alive: Callable[[], bool]) -> bool:
        """Until the moment has come; return whether what it is named after is under way."""

        def until(condition: Callable[[], object]) -> bool:
            end = time.monotonic() + 120
            while not condition() and alive():
                assert time.monotonic() < end, moment
                time.sleep(0.0005)
            return alive()

        checkpoints = place / "checkpoints"
        count = chance.randint(1, 9)
        until((place / "config.yaml").exists)
        if moment == "cache":
            return until(lambda: any((cache / "datasets").glob(".*.partial")))
        if moment == "start":
            time.sleep(chance.uniform(0, 1))
            return alive()
        if moment == "anytime":
            until((checkpoints / "last.ckpt").exists)
            time.sleep(chance.uniform(0, 4))
            return alive()
        if moment == "checkpoint":
            until(lambda: len(grids(place)) > count)
            return until(lambda: any(checkpoints.glob(".kimg-*.partial")))
        if moment == "last evaluation":
            count = 10
        until(lambda: (checkpoints / f"kimg-{count * EVERY:011.3f}.ckpt").exists())
        time.sleep(chance.uniform(0, 0.1))
        return alive() and len(entries(place)) <= count + (count == 10)

    def _process(self, victim: str, launcher: int) -> int:
        if victim == "launcher" or self.ranks == 1:
            return launcher
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        ranks = sorted(int(c) for c in children if b"--multiprocessing-fork" in Path(f"/proc/{c}/cmdline").read_bytes())
        return ranks[int(victim[-1])]


def rows(place: Path) -> list[dict[str, str]]:
    """The log of a run, without what a clock decides."""
    path = place / "metrics.csv"
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]


def entries(place: Path) -> list[dict]:
    path = place / "scores.json"
    return json.loads(path.read_text()) if path.exists() else []


def grids(place: Path) -> list[str]:
    return sorted(path.name for path in (place / "samples").glob("*.png"))


def contents(place: Path) -> dict:
    """All of a run that must not depend on how often it was killed; tensors as their bytes."""

    def plain(value):
        if isinstance(value, torch.Tensor):
            return value.numpy().tobytes()
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return [plain(each) for each in value] if isinstance(value, list | tuple) else value

    stored = torch.load(place / "checkpoints" / "last.ckpt", weights_only=True)
    kept = sorted(path.name for path in (place / "checkpoints").iterdir())
    return {
        "checkpoint": {key: plain(stored[key]) for key in ("state_dict", "optimizer_states", "global_step", "meter")},
        "checkpoints": kept,
        "rows": rows(place),
        "scores": [(entry["iteration"], entry["scores"], entry.get("kept_as")) for entry in entries(place)],
        "samples": {name: (place / "samples" / name).read_bytes() for name in grids(place)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance, bad = random.Random(asked.seed), 0
    with TemporaryDirectory() as folder:
        faults = Faults(Path(folder), asked.ranks)
        for i in range(asked.points):
            victim = VICTIMS[i % 3] if asked.ranks > 1 else "launcher"
            seen = faults.point(f"run{i}", MOMENTS[i % len(MOMENTS)], chance, victim)
            bad += not seen.same or seen.repeated > EVERY + 1e-9
            print(
                f"{i:3} {seen.moment:16} {seen.victim:9} {'under way' if seen.under_way else 'over     '} killed at {seen.killed_at:4}, "
                f"went on at {seen.went_on_at:4}: {seen.repeated:.3f} kimg again, {'the same' if seen.same else 'DIFFERENT'}",
                flush=True,
            )
    print(f"{asked.points - bad} of {asked.points} as if nothing had happened")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
