"""A person's own folder of images."""

import os
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

from sparring.config.errors import UserError
from sparring.data.image_io import SUFFIXES
from sparring.data.source import Files, Listing


class ImageFolder(Files):
    """Every jpg, png, webp and bmp below a folder, however nested.

    Args:
        path: the folder.
        image_size: pixels of a side.
        channels: 1 or 3.
        labels: the first level of sub-folders names the classes.
        crop: side of the centre square that is kept, in pixels of the files; by default the shorter side.
        on_bad_image: ``error`` or ``skip``.
    """

    def __init__(
        self,
        path: str,
        image_size: int = 64,
        channels: int = 3,
        labels: bool = False,
        crop: int | None = None,
        on_bad_image: Literal["error", "skip"] = "error",
    ):
        self.path = Path(path).expanduser()
        self._files, names = listed(path, SUFFIXES, "image", labels)
        super().__init__(image_size, channels, names, crop, on_bad_image)

    @property
    def name(self) -> str:
        return self.path.absolute().name

    def files(self) -> Listing:
        return self._files


def listed(path: str, suffixes: Collection[str], kind: str, labels: bool | None) -> tuple[Listing, list[str]]:
    """The files of a kind in or below the folder ``data.path``, and the names of the classes.

    Args:
        path: the folder.
        suffixes: of the files' names.
        kind: what they are, in messages.
        labels: whether the first level of sub-folders names the classes; None if there are at least two, and no file lies beside.

    Raises:
        UserError: there is no such folder, no such file in it, or one that has no class.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"data.path={path}: no such folder")
    found = [
        os.path.join(below, name)
        for below, names in _walked(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in suffixes and not name.startswith(".")
    ]
    if not found:
        raise UserError(f"data.path={path}: no {kind} ({', '.join(sorted(suffixes))}) in it or below it")
    found.sort(key=lambda name: name.replace(os.sep, "\0"))  # as paths are sorted: a/b.png before a.png
    loose = next((name for name in found if os.sep not in name), None)
    tops = sorted({_top(name) for name in found})
    if labels and loose:
        raise UserError(
            f"data.labels=true: the sub-folders of data.path={path} name the classes, but {loose} lies in none"
        )
    names = tops if labels or labels is None and not loose and len(tops) > 1 else []
    index = {name: i for i, name in enumerate(names)}
    return Listing(folder, found, (index.get(_top(name), -1) for name in found)), names


def _walked(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders, relative to the whole (itself ""), and the names of their files."""
    for folder, names in walk(path):
        inside = Path(folder).relative_to(path)
        yield "" if inside == Path() else str(inside), names


def _top(name: str) -> str:
    return name.partition(os.sep)[0]


def walk(path: str | os.PathLike) -> Iterator[tuple[str, list[str]]]:
    """Folders and the names of their files; no hidden folders, and each once, however many links lead to it: a link to one
    that lies here adds nothing, nor does one to a folder above.

    Raises:
        UserError: one of them can't be read.
    """
    folders, links = [os.fspath(path)], deque()
    seen = {_place(parent) for parent in Path(path).resolve().parents}
    while folders or links:
        folder = folders.pop() if folders else links.popleft()
        names = []
        try:
            if (here := _place(folder)) in seen:
                continue
            seen.add(here)
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if not _is_folder(entry):
                        names.append(entry.name)
                    elif not entry.name.startswith("."):
                        (links if entry.is_symlink() else folders).append(entry.path)
        except OSError as error:
            raise UserError(f"{folder} can't be read ({error.strerror})") from error
        yield folder, names


def _place(folder: str | os.PathLike) -> tuple[int, int]:
    """What is the same of a folder by whatever name."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
