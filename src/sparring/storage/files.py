"""Files that are never half-written (a temporary name in the same folder, then one rename) and never half-read."""

import csv
import glob
import hashlib
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
_refused: set[Path] = set()  # of what may be lost, what can't be written at the moment

# ---- writing ----------------------------------------------------------------------------------------------------


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; what was written there takes its place, or is removed on an error.

    Raises:
        OSError: it can't be written; ``path`` is named.
    """
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
    """A new name beside ``path`` for what will take its place."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


@contextmanager
def naming_path(path: Path) -> Iterator[None]:
    """An error of the system tells the path that was meant, not none or a temporary one."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(".partial"):
            error.filename, error.filename2 = os.fspath(path), None
        raise


@contextmanager
def optional_write(place: Path) -> Iterator[None]:
    """Training goes on though what is written here can't be: with one warning a ``place``, until it can be again."""
    try:
        with naming_path(place):
            yield
    except (OSError, UserError) as error:  # it can't be written, or what is there is damaged, and not written over
        if place not in _refused:
            log.warning(
                "%s. Training goes on without it.", describe_os_error(error) if isinstance(error, OSError) else error
            )
        _refused.add(place)
    else:
        _refused.discard(place)


def remove_partial(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left half-written.

    Args:
        folder: where it lies; nobody else writes there now.
        name: of what they wrote; None for all of it, in the folders below, too.
    """
    found = folder.rglob(".*.partial") if name is None else folder.glob(f".{glob.escape(name)}.*.partial")
    for path in list(found):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that it holds; what is gone already is no error."""
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
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


# ---- reading ----------------------------------------------------------------------------------------------------


def read_json(path: Path, kind: type[Kind], remedy: str = "") -> Kind:
    """A file that holds one value in JSON, a list or a dictionary.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged; ``remedy`` says what to do.
    """
    with _told_if_damaged(path, remedy):
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, kind):
            raise ValueError(f"it holds no {kind.__name__}")
        return found


def read_rows(path: Path, remedy: str = "") -> tuple[list[str], list[dict[str, str]]]:
    """The columns and rows of ``metrics.csv``, of numbers; a last line that was not written to its end is left out.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged; ``remedy`` says what to do.
    """
    with _told_if_damaged(path, remedy), open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(line for line in file if line.endswith("\n"))
        rows = list(reader)
        if not {"iteration", "kimg"} <= set(reader.fieldnames or ()):
            raise ValueError("its first line names no iteration and kimg")
        for number, row in enumerate(rows, 2):
            if None in row or None in row.values():
                raise ValueError(f"line {number} has not as many values as there are columns")
            for value in filter(None, (int(row["iteration"]), *row.values())):
                float(value)
        return list(reader.fieldnames), rows


@contextmanager
def _told_if_damaged(path: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, RecursionError, csv.Error) as error:  # json's, unicode's, csv's
        raise UserError(f"{path} is damaged ({' '.join(str(error).split())}). {remedy}".strip()) from error


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
