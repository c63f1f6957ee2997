"""Folders that are made once, from what can be made again: whole by their checksums, or made anew."""

import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from sparring.config.errors import UserError, describe_os_error
from sparring.storage.files import naming_path, partial, read_json, remove
from sparring.storage.locks import one_at_a_time

log = logging.getLogger(__name__)
CHECKSUMS = "checksums.json"  # a CRC-32 for every block of every file
BLOCK = 2**26  # bytes


def build_once(place: Path, make: Callable[[Path], None], what: str) -> None:
    """See to it that the folder ``place`` is there and whole. Of many processes one makes it, and the others wait.

    Args:
        place: where it lies.
        make: writes it to the folder that it is given.
        what: it is, for those who wait.
    """
    if find_damage(place) is None:  # without the lock: many may look at the same time
        return
    with one_at_a_time(place, what):
        if (found := find_damage(place)) is None:
            return
        warn_of_damage(place, found)
        with write_folder(place) as folder:
            make(folder)


@contextmanager
def write_folder(place: Path) -> Iterator[Path]:
    """Yields a temporary folder beside ``place``; complete, it takes its place, or is removed on an error.

    What lies there is replaced unless it is whole: then another process was quicker, and its work is as good.
    """
    folder = partial(place)
    with naming_path(place):
        folder.mkdir(parents=True)
        try:
            yield folder
            sums = _checksums(sorted(folder.iterdir()))
            (folder / CHECKSUMS).write_text(json.dumps({path.name: values for path, values in sums.items()}))
            for path in folder.iterdir():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
            if place.exists() and find_damage(place) is not None:
                remove(place)
            try:
                folder.rename(place)
            except OSError:
                if find_damage(place) is not None:
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def find_damage(place: Path) -> str | None:
    """What is wrong with a folder that ``building`` wrote; None where every file holds what was written."""
    try:
        known = read_json(place / CHECKSUMS, dict)
        found = _checksums([place / name for name in known])
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return describe_os_error(error)
    except UserError as error:
        return str(error)
    return next((f"{path.name} is not what was written" for path in found if found[path] != known[path.name]), None)


def warn_of_damage(place: Path, found: str) -> None:
    """Say that a folder is made again, if there is one, and why."""
    if place.exists():
        why = "it is of a version that kept no checksums" if found.startswith(CHECKSUMS) else f"damaged: {found}"
        log.warning("%s is made again (%s)", place, why)


def _checksums(paths: list[Path]) -> dict[Path, list[int]]:
    """Of each block of each file, worked out by several threads: quicker than the disk, if not than the memory."""
    blocks = [(path, start) for path in paths for start in range(0, path.stat().st_size, BLOCK)]
    sums: dict[Path, list[int]] = {path: [] for path in paths}
    with ThreadPoolExecutor() as threads:
        values = threads.map(lambda block: _checksum(*block), blocks)
        bar = tqdm(values, "checking", len(blocks), unit=" blocks", delay=2, leave=False)
        for (path, _), value in zip(blocks, bar, strict=True):
            sums[path].append(value)
    return sums


def _checksum(path: Path, start: int) -> int:
    value, left, part = 0, BLOCK, memoryview(bytearray(2**20))
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        while left and (count := file.readinto(part)):
            value, left = zlib.crc32(part[:count], value), left - count
    return value
