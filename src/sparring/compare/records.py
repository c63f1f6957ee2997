"""Stored runs, read back to be compared."""

import glob
import math
import statistics
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sparring.config.errors import UserError
from sparring.config.values import leaves
from sparring.runs import store
from sparring.runs.untrusted import check_entries, read_overrides, read_yaml
from sparring.storage.files import read_rows


@dataclass(frozen=True)
class Record:
    """A stored run. Only its ``config.yaml`` is needed; the other files may be missing."""

    name: str  # the end of its path, as long as it must be to differ from those of other runs
    folder: Path

    @cached_property
    def config(self) -> dict:
        """The resolved configuration."""
        path = self.folder / "config.yaml"
        config = read_yaml(path)
        if not isinstance(config, dict):
            raise UserError(f"{path}: is not a run's configuration, which has keys")
        return config

    @cached_property
    def keys(self) -> dict[str, Any]:
        """The leaves of the configuration by dotted key; a list is a leaf."""
        return dict(leaves(self.config))

    @cached_property
    def overrides(self) -> list[str]:
        """What was typed to start it; empty if it is not stored."""
        path = self.folder / "overrides.yaml"
        return read_overrides(path) if path.exists() else []

    @cached_property
    def status(self) -> dict:
        """Its ``status.json``: ``state``, ``seconds``, ``iteration``, ``kimg``, ``device``, ``ranks``, ``error``."""
        return store.read_status(self.folder)

    @property
    def state(self) -> str:
        """``done``, ``failed``, ``stopped`` or ``running`` (also if it was killed); ``unknown`` if it is not stored."""
        return self.status.get("state", "unknown")

    @cached_property
    def evaluations(self) -> list[dict]:
        """The entries of ``scores.json``, oldest first: of training, and then of ``task=evaluate``."""
        return store.read_scores(self.folder)

    @property
    def newest(self) -> dict:
        """The newest evaluation of samples (not of ``evaluation=augmentation``); empty without one."""
        return next((entry for entry in reversed(self.evaluations) if "extractor" in entry["protocol"]), {})

    @property
    def scores(self) -> dict[str, float]:
        """The scores of the newest evaluation; empty without one."""
        return self.newest.get("scores", {})

    @property
    def leading_score(self) -> str | None:
        """The score by which the run is ranked, lower is better."""
        return next(iter(self.newest.get("lower_is_better", [])), None)

    @property
    def kimg(self) -> float:
        """How far it was trained; NaN if that is not stored."""
        known = [self.status.get("kimg"), *(entry["kimg"] for entry in reversed(self.evaluations))]
        return next((kimg for kimg in known if kimg is not None), math.nan)

    @cached_property
    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """Every column of ``metrics.csv`` as pairs (kimg, value)."""
        path = self.folder / "metrics.csv"
        curves: dict[str, list[tuple[float, float]]] = {}
        for row in read_rows(path)[1] if path.is_file() else ():
            for name, text in row.items():
                if name not in ("iteration", "kimg") and text:
                    curves.setdefault(name, []).append((float(row["kimg"] or "nan"), float(text)))
        return curves

    @property
    def images_per_second(self) -> float:
        """The median speed of training alone; NaN if none is logged."""
        rates = [rate for _, rate in self.curves.get("images_per_second", [])]
        return statistics.median_high(rates) if rates else math.nan


def find(named: str | list[str], key: str = "run") -> list[Record]:
    """Return the runs in folders: each a run's own, one with runs in its sub-folders, or a glob of such folders.

    Raises:
        UserError: a folder holds no run, or a run's folder holds what ``untrusted.check_entries`` refuses.
    """
    folders: list[Path] = []
    for name in [named] if isinstance(named, str) else named:
        path = Path(name).expanduser()
        matches = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(str(path)))]
        runs = [run for match in matches for run in _runs_in(match)]
        if not runs:
            raise UserError(f"{key}={name}: no run is stored there (none has a config.yaml)")
        folders += runs
    folders = list(dict.fromkeys(folder.resolve() for folder in folders))
    for folder in folders:
        check_entries(folder)
    return [Record(name, folder) for name, folder in zip(_names(folders), folders, strict=True)]


def _runs_in(folder: Path) -> list[Path]:
    if (folder / "config.yaml").is_file():
        return [folder]
    return sorted(path.parent for depth in ("*", "*/*", "*/*/*") for path in folder.glob(f"{depth}/config.yaml"))


def _names(folders: list[Path]) -> list[str]:
    """Return the ends of paths, as long as they must be to differ."""
    names: list[str] = []
    for length in range(1, max((len(folder.parts) for folder in folders), default=1) + 1):
        names = ["/".join(folder.parts[-length:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names
