"""A person's own folder of images."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from sparring.data.images import SUFFIXES
from sparring.data.source import Files, Listing
from sparring.errors import UserError


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
        if not self.path.is_dir():
            raise UserError(f"data.path={path}: no such folder")
        found = [
            os.path.join(below, name)
            for below, names in self._walked()
            for name in names
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
        ]
        if not found:
            raise UserError(f"data.path={path}: no image ({', '.join(sorted(SUFFIXES))}) in it or below it")
        found.sort(key=lambda name: name.replace(os.sep, "\0"))  # as paths are sorted: a/b.png before a.png
        names, index = [], {}
        if labels:
            if loose := next((name for name in found if os.sep not in name), None):
                raise UserError(
                    f"data.labels=true: the sub-folders of data.path={path} name the classes, but {loose} lies in none"
                )
            names = sorted({_top(name) for name in found})
            index = {name: i for i, name in enumerate(names)}
        super().__init__(image_size, channels, names, crop, on_bad_image)
        self._files = Listing(self.path, found, (index.get(_top(name), -1) for name in found))

    def _walked(self) -> Iterator[tuple[str, list[str]]]:
        """Folders, relative to the whole (itself ""), and the names of their files."""
        for folder, names in walk(self.path):
            inside = Path(folder).relative_to(self.path)
            yield "" if inside == Path() else str(inside), names

    @property
    def name(self) -> str:
        return self.path.absolute().name

    def files(self) -> Listing:
        return self._files


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
