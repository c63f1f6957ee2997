"""A person's own folder of images."""

import os
from pathlib import Path
from typing import Literal

from sparring.data.images import SUFFIXES
from sparring.data.source import Files
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
        paths = sorted(
            Path(folder, name)
            for folder, names in walk(self.path)
            for name in names
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        )
        if not paths:
            raise UserError(f"data.path={path}: no image ({', '.join(sorted(SUFFIXES))}) in it or below it")
        names = []
        if labels:
            if loose := [found for found in paths if found.parent == self.path]:
                raise UserError(
                    f"data.labels=true: the sub-folders of data.path={path} name the classes, but {loose[0].name} lies in none"
                )
            names = sorted({found.relative_to(self.path).parts[0] for found in paths})
        super().__init__(image_size, channels, names, crop, on_bad_image)
        index = {name: i for i, name in enumerate(names)}
        self._files = [(found, index.get(found.relative_to(self.path).parts[0], -1)) for found in paths]

    @property
    def name(self) -> str:
        return self.path.absolute().name

    def files(self) -> list[tuple[Path, int]]:
        return self._files


def walk(path):
    """Folders and the names of their files; no hidden ones, and no links back to a folder above."""
    for folder, below, names in os.walk(path, followlinks=True):
        here = Path(folder).resolve()
        below[:] = [n for n in below if not n.startswith(".") and not here.is_relative_to(Path(folder, n).resolve())]
        yield folder, names
