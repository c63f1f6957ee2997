"""Folders that are built once and can be built again: used only if their checksums are right."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sparring.config.errors import UserError, describe_os_error
from sparring.storage.checksums import block_checksums
from sparring.storage.files import naming_path, partial, read_json, remove
from sparring.storage.locks import one_at_a_time

log = logging.getLogger(__name__)
CHECKSUMS = "checksums.json"


def build_once(folder: Path, build: Callable[[Path], None], content: str) -> None:
    """Let ``build`` write a folder unless it is there and whole. Other processes wait, and log its ``content``."""
    if find_damage(folder) is None:  # without the lock: several processes may check at the same time
        return
    with one_at_a_time(folder, content):
        if damage := find_damage(folder):
            warn_of_damage(folder, damage)
            with write_folder(folder) as temporary:
                build(temporary)


@contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder next to ``folder`` and rename it to ``folder`` at the end; remove it on an error.

    A damaged ``folder`` is replaced. A whole one stays: another process was quicker, and its content is as good.
    """
    temporary = partial(folder)
    with naming_path(folder):
        temporary.mkdir(parents=True)
        try:
            yield temporary
            sums = block_checksums(sorted(temporary.iterdir()))
            (temporary / CHECKSUMS).write_text(json.dumps(sums))
            for path in temporary.iterdir():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
            if folder.exists() and find_damage(folder):
                remove(folder)
            try:
                temporary.rename(folder)
            except OSError:
                if find_damage(folder):
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def find_damage(folder: Path) -> str | None:
    """Return what is wrong with a folder that ``write_folder`` wrote; None if all its files have their checksums."""
    try:
        stored = read_json(folder / CHECKSUMS, dict)
        sums = block_checksums([folder / name for name in stored])
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return describe_os_error(error)
    except UserError as error:
        return str(error)
    return next((f"{name} is not what was written" for name in stored if sums[name] != stored[name]), None)


def warn_of_damage(folder: Path, damage: str) -> None:
    """Log why an existing folder is built again."""
    if folder.exists():
        reason = "its version stored no checksums" if damage.startswith(CHECKSUMS) else f"damaged: {damage}"
        log.warning("%s is made again (%s)", folder, reason)
