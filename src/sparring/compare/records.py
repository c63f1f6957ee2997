"""Stored runs, read back to be compared."""

import glob
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sparring.config.errors import UserError
from sparring.runs import store
from sparring.runs.untrusted import check_entries, read_overrides, read_yaml
from sparring.storage.files import read_rows


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
        """The resolved configuration.

        Raises:
            UserError: the file is not one.
        """
        found = read_yaml(path := self.folder / "config.yaml")
        if not isinstance(found, dict):
            raise UserError(f"{path}: is not a run's configuration, which has keys")
        return found

    @cached_property
    def keys(self) -> dict[str, Any]:
        """The leaves of the configuration by dotted key; a list is one."""

        def leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
            if isinstance(node, dict) and node:
                for key, value in node.items():
                    yield from leaves(value, f"{path}.{key}" if path else str(key))
            else:
                yield path, node

        return dict(leaves(self.config, ""))

    @cached_property
    def overrides(self) -> list[str]:
        """What was typed to start it."""
        path = self.folder / "overrides.yaml"
        return read_overrides(path) if path.exists() else []

    @cached_property
    def status(self) -> dict:
        """Its ``status.json``: ``state``, ``seconds``, ``iteration``, ``kimg``, ``device``, ``ranks``, ``error``."""
        return store.read_status(self.folder)

    @cached_property
    def state(self) -> str:
        """``done``, ``failed``, ``stopped`` or ``running`` (also of one that was killed); ``unknown`` of an old one."""
        return self.status.get("state", "unknown")

    @cached_property
    def evaluations(self) -> list[dict]:
        """The entries of ``scores.json`` in the order in which they were made: those of training, its last one (of more
        samples, where so many were asked for), and then those of ``task=evaluate``.
        """
        return store.read_scores(self.folder)

    @property
    def newest(self) -> dict:
        """The newest evaluation of what it makes (``evaluation=augmentation`` studies something else); empty without one."""
        return next((entry for entry in reversed(self.evaluations) if "extractor" in entry["protocol"]), {})

    @property
    def scores(self) -> dict[str, float]:
        """Of the newest evaluation; empty where there is none."""
        return self.newest.get("scores", {})

    @property
    def leading_score(self) -> str | None:
        """The score by which it is ranked, the lower the better."""
        return next(iter(self.newest.get("lower_is_better", [])), None)

    @property
    def kimg(self) -> float:
        """How far it came, as far as is known; NaN where nothing is."""
        known = [self.status.get("kimg"), *(entry["kimg"] for entry in reversed(self.evaluations))]
        return next((kimg for kimg in known if kimg is not None), math.nan)

    @cached_property
    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """Every column of ``metrics.csv`` as (kimg, value) where it has a value.

        Raises:
            UserError: the file is damaged.
        """
        path = self.folder / "metrics.csv"
        found: dict[str, list[tuple[float, float]]] = {}
        for row in read_rows(path)[1] if path.is_file() else ():
            for name, text in row.items():
                if name not in ("iteration", "kimg") and text:
                    found.setdefault(name, []).append((float(row["kimg"] or "nan"), float(text)))
        return found

    @cached_property
    def images_per_second(self) -> float:
        """Of training alone: the median over its log; NaN where it has none."""
        rates = sorted(rate for _, rate in self.curves.get("images_per_second", []))
        return rates[len(rates) // 2] if rates else math.nan


def find(named: str | list[str], key: str = "run") -> list[Record]:
    """The runs in folders, each a run's own or a sweep's with runs somewhere below it, or in what globs match.

    Raises:
        UserError: there is no run in one of them, or one holds what ``strangers.check_entries`` refuses.
    """
    folders: list[Path] = []
    for name in [named] if isinstance(named, str) else named:
        place = Path(name).expanduser()
        places = [place] if place.exists() else [Path(match) for match in sorted(glob.glob(str(place)))]
        found = [run for place in places for run in _runs_in(place)]
        if not found:
            raise UserError(f"{key}={name}: no run is stored there (none has a config.yaml)")
        folders += found
    folders = list(dict.fromkeys(folder.resolve() for folder in folders))
    for folder in folders:
        check_entries(folder)
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
