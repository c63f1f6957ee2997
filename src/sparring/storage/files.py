"""Write files whole or not at all (a temporary name, then one rename), and read JSON and CSV without half of it."""

import csv
import glob
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sparring.config.errors import UserError, describe_os_error

log = logging.getLogger(__name__)
Kind = TypeVar("Kind")
_failed_writes: set[Path] = set()  # optional outputs whose last write failed


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path and rename it to ``path`` at the end; remove it on an error. An OSError names ``path``."""
    path = Path(path)
    temporary = partial(path)
    with naming_path(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def partial(path: Path) -> Path:
    """Return a new temporary name next to ``path``."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


@contextmanager
def naming_path(path: Path) -> Iterator[None]:
    """Let an OSError name ``path`` where it names no file or a temporary one."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(".partial"):
            error.filename, error.filename2 = os.fspath(path), None
        raise


@contextmanager
def optional_write(path: Path) -> Iterator[None]:
    """Let training continue if ``path`` can't be written. Warn once, and again after a write that succeeded."""
    try:
        with naming_path(path):
            yield
    except (OSError, UserError) as error:  # a UserError: the file there is damaged, and stays as it is
        if path not in _failed_writes:
            reason = describe_os_error(error) if isinstance(error, OSError) else error
            log.warning("%s. Training goes on without it.", reason)
        _failed_writes.add(path)
    else:
        _failed_writes.discard(path)


def remove_partial(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left of ``name``, or of all below the folder. No process may write there now."""
    leftovers = folder.rglob(".*.partial") if name is None else folder.glob(f".{glob.escape(name)}.*.partial")
    for path in list(leftovers):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with its content. A missing one is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def check_free_space(cache: Path, needed: int, what: str, remedy: str) -> None:
    """Raise UserError if ``needed`` bytes for ``what`` are not free in the cache folder."""
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise UserError(
            f"cache={cache}: {what} need {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free there. "
            f"Name another folder with cache=DIR, or {remedy}."
        )


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_json(path: Path, kind: type[Kind], remedy: str = "") -> Kind:
    """Return the list or dictionary (``kind``) in a JSON file. Raise UserError with the ``remedy`` if it is damaged."""
    with _naming_damage(path, remedy):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, kind):
            raise ValueError(f"it holds no {kind.__name__}")
        return content


def read_rows(path: Path, remedy: str = "") -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a ``metrics.csv``, without a last line that was not written to its end.

    Raise UserError with the ``remedy`` if it is damaged.
    """
    with _naming_damage(path, remedy), open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(line for line in file if line.endswith("\n"))
        rows, columns = list(reader), list(reader.fieldnames or ())
        if not {"iteration", "kimg"} <= set(columns):
            raise ValueError("its first line names no iteration and kimg")
        for number, row in enumerate(rows, 2):
            if None in row or None in row.values():
                raise ValueError(f"line {number} has not as many values as there are columns")
            for value in filter(None, (int(row["iteration"]), *row.values())):
                float(value)
        return columns, rows


@contextmanager
def _naming_damage(path: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, RecursionError, csv.Error) as error:  # of json, of unicode, of csv
        raise UserError(f"{path} is damaged ({' '.join(str(error).split())}). {remedy}".strip()) from error
