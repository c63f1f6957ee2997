"""Files that are never half-written: a temporary name in the same folder, then one rename."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sparring.errors import UserError


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; what was written there takes its place, or is removed on an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def building(place: Path, is_whole: Callable[[Path], bool]) -> Iterator[Path]:
    """Yields a temporary folder beside ``place``; complete, it takes its place, or is removed on an error.

    What lies there is replaced unless it ``is_whole``: then another process was quicker, and its work is as good.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir()
    try:
        yield partial
        for path in partial.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        if place.exists() and not is_whole(place):
            shutil.rmtree(place)
        try:
            partial.rename(place)
        except OSError:
            if not is_whole(place):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def one_at_a_time(place: Path) -> Iterator[None]:
    """Processes that want the same thing made wait for the first; those that come later find it there."""
    from filelock import FileLock

    with ExitStack() as held:
        with suppress(OSError):  # where nothing can be written nothing is made; what is there is read
            locks = place.parent.with_name("locks")
            locks.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(locks / f"{place.name}.lock"))
        yield


def need_space(cache: Path, needed: int, what: str, remedy: str) -> None:
    """Raise UserError if ``needed`` bytes for ``what`` are not free in the cache folder."""
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise UserError(
            f"cache={cache}: {what} need {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free there. "
            f"Name another folder with cache=DIR, or {remedy}."
        )


def write_json(path: str | os.PathLike, content: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def update_json_list(path: Path, change: Callable[[list], list]) -> None:
    """Rewrite a file that holds a JSON list (an absent one counts as empty)."""
    write_json(path, change(json.loads(path.read_text()) if path.exists() else []))


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
