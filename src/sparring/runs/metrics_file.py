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
    """A row of ``metrics.csv`` for every row of the log; a new column rewrites the file, whole or not at all.

    Rows for which there is no space wait in memory until there is.

    Args:
        path: the file; rows after ``iteration`` are dropped, so that a resumed run goes on from its checkpoint.
        iteration: at which training begins; rows of it that are there already are not written twice.

    Raises:
        UserError: the file that is there is damaged.
    """

    name, version = "metrics", None

    def __init__(self, path: Path, iteration: int = 0):
        super().__init__()
        self.path = path
        self._columns: list[str] = []
        self._waiting: list[dict] = []
        self._begun, self._known = iteration, list[set[str]]()
        if path.exists():
            columns, rows = read_rows(path, "Mend it, or move it away.")
            rows = [row for row in rows if int(row["iteration"]) <= iteration]
            self._known = [{name for name in row if row[name]} for row in rows if int(row["iteration"]) == iteration]
            self._rewrite(columns, rows)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"iteration": step, **metrics}
        if step == self._begun and any(row.keys() <= known for known in self._known):
            return
        self._waiting.append(row)
        self._write()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The configuration lies beside the file, in ``config.yaml``."""

    def finalize(self, status: str) -> None:
        self._write()

    def _write(self) -> None:
        with optional_write(self.path):
            columns = list(dict.fromkeys([*(self._columns or ("iteration", "kimg")), *chain(*self._waiting)]))
            if columns == self._columns and self.path.exists():
                self._append()
            else:
                before = read_rows(self.path)[1] if self.path.exists() else []
                self._rewrite(columns, [*before, *self._waiting])
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
                file.truncate(end)  # no part of a row stays
                raise

    def _rewrite(self, columns: list[str], rows: Iterable[dict]) -> None:
        with atomic_write(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        self._columns = columns
