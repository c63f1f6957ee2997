"""The rows of a run's ``metrics.csv``."""

import csv
from collections.abc import Iterable
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger

from sparring.storage.files import atomic_write, optional_write, read_rows


class MetricsFile(Logger):
    """A logger that writes a row of ``metrics.csv`` for every row of the log.

    A new column rewrites the file, whole or not at all. While the disk is full, rows wait in memory.

    Args:
        path: the file; rows after ``iteration`` are dropped.
        iteration: where training starts; rows of it that the file holds already are not written twice.

    Raises:
        UserError: the file is damaged.
    """

    name = "metrics"  # pyright: ignore[reportAssignmentType]
    version = None  # pyright: ignore[reportAssignmentType]

    def __init__(self, path: Path, iteration: int = 0):
        super().__init__()
        self.path = path
        self._columns: list[str] = []
        self._waiting: list[dict] = []
        self._first, self._first_rows = iteration, list[set[str]]()
        if path.exists():
            columns, rows = read_rows(path, "Mend it, or move it away.")
            rows = [row for row in rows if int(row["iteration"]) <= iteration]
            self._first_rows = [{k for k in row if row[k]} for row in rows if int(row["iteration"]) == iteration]
            self._rewrite(columns, rows)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"iteration": step, **metrics}
        if step == self._first and any(row.keys() <= columns for columns in self._first_rows):
            return
        self._waiting.append(row)
        self._write()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the configuration is in ``config.yaml``."""

    def finalize(self, status: str) -> None:
        self._write()

    def _write(self) -> None:
        with optional_write(self.path):
            columns = list(dict.fromkeys([*(self._columns or ("iteration", "kimg")), *chain(*self._waiting)]))
            if columns == self._columns and self.path.exists():
                self._append()
            else:
                rows = read_rows(self.path)[1] if self.path.exists() else []
                self._rewrite(columns, [*rows, *self._waiting])
            self._waiting = []

    def _append(self) -> None:
        text = StringIO(newline="")
        csv.DictWriter(text, self._columns).writerows(self._waiting)
        rest = text.getvalue().encode()
        with open(self.path, "ab", buffering=0) as file:
            end = file.tell()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(end)  # leaves no part of a row
                raise

    def _rewrite(self, columns: list[str], rows: Iterable[dict]) -> None:
        with atomic_write(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        self._columns = columns
