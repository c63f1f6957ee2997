"""Stored runs, read back to be compared."""

import csv
import glob
import json
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from omegaconf import OmegaConf

from sparring import runs
from sparring.errors import UserError


@dataclass(frozen=True)
class Record:
    """What a run left behind. Nothing of it is needed but its ``config.yaml``.

    Attributes:
        name: the end of its path, as much of it as tells it apart from the runs beside it.
        folder: where it lies.
    """

    name: str
    folder: Path

    @cached_property
    def config(self) -> dict:
        """The resolved configuration."""
        return OmegaConf.to_container(OmegaConf.load(self.folder / "config.yaml"))

    @cached_property
    def overrides(self) -> list[str]:
        """What was typed to start it."""
        return self._json("overrides.yaml", [])

    @cached_property
    def status(self) -> dict:
        """Its ``status.json``: ``state``, ``seconds``, ``iteration``, ``kimg``, ``device``, ``ranks``, ``error``."""
        return runs.status(self.folder)

    @cached_property
    def state(self) -> str:
        """``done``, ``failed``, ``stopped`` or ``running`` (also of one that was killed); ``unknown`` of an old one."""
        return self.status.get("state", "unknown")

    @cached_property
    def evaluations(self) -> list[dict]:
        """The entries of ``scores.json`` in the order in which they were made: those of training, its last one (of more
        samples, where so many were asked for), and then those of ``task=evaluate``."""
        return self._json("scores.json", [])

    @property
    def scores(self) -> dict[str, float]:
        """Of the newest evaluation; empty where there is none."""
        return self.evaluations[-1]["scores"] if self.evaluations else {}

    @cached_property
    def leading_score(self) -> str | None:
        """The score by which it is ranked, the lower the better."""
        newest = self.evaluations[-1] if self.evaluations else {}
        return next(iter(newest.get("lower_is_better", [])), None)

    @cached_property
    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """Every column of ``metrics.csv`` as (kimg, value) where it has a value."""
        path = self.folder / "metrics.csv"
        if not path.is_file():
            return {}
        found: dict[str, list[tuple[float, float]]] = {}
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                for name, text in row.items():
                    if name not in (None, "iteration", "kimg") and text:
                        found.setdefault(name, []).append((float(row["kimg"]), float(text)))
        return found

    @cached_property
    def images_per_second(self) -> float:
        """Of training alone: the median over its log; NaN where it has none."""
        rates = sorted(rate for _, rate in self.curves.get("images_per_second", []))
        return rates[len(rates) // 2] if rates else math.nan

    def _json(self, name: str, absent: list) -> list:
        path = self.folder / name
        return json.loads(path.read_text()) if path.is_file() else absent


def find(named: str | list[str], key: str = "run") -> list[Record]:
    """The runs in folders, each a run's own or a sweep's with runs somewhere below it, or in what globs match.

    Raises:
        UserError: there is no run in one of them.
    """
    folders: list[Path] = []
    for name in [named] if isinstance(named, str) else named:
        places = [Path(place) for place in sorted(glob.glob(os.path.expanduser(name)))]
        found = [run for place in places for run in _runs_in(place)]
        if not found:
            raise UserError(f"{key}={name}: no run is stored there (none has a config.yaml)")
        folders += found
    folders = list(dict.fromkeys(folder.resolve() for folder in folders))
    return [Record(name, folder) for name, folder in zip(_names(folders), folders, strict=True)]


def _runs_in(place: Path) -> list[Path]:
    if (place / "config.yaml").is_file():
        return [place]
    return sorted(path.parent for depth in ("*", "*/*", "*/*/*") for path in place.glob(f"{depth}/config.yaml"))


def _names(folders: list[Path]) -> list[str]:
    """The ends of paths, as long as they must be to differ."""
    for length in range(1, max((len(folder.parts) for folder in folders), default=1) + 1):
        names = ["/".join(folder.parts[-length:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names
