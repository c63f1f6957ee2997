"""The interface of a data set, and its two usual forms: files to decode, and an array of images."""

import hashlib
import math
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from sparring.config.errors import UserError
from sparring.data.image_io import UnreadableFileError, decoding, read
from sparring.data.image_resizing import fit, fit_array

if TYPE_CHECKING:
    from sparring.data.dataset import Data

Example = tuple[
    np.ndarray | None, int
]  # an array of the source's shape and dtype, or None if skipped; its label, or -1
Channels = Literal[1, 3]  # grey or RGB
Crop = Annotated[int, Field(ge=1, le=10_000)]  # pixels of a side
Count = Annotated[int, Field(ge=1, le=10**9)]
OnBadImage = Literal["error", "skip"]
TrainTest = Literal["train", "test"]


class Source:
    """A data set. Constructing one downloads nothing; ``prepare`` may.

    A source returns all its examples from ``drawn``; or it has ``identity``, ``__len__`` and ``__iter__``, called after
    ``prepare``, and the cache stores its examples.

    Attributes:
        inputs: for translation: the source of what the images are made from; else None.
        paired: whether input i belongs to image i. Unpaired inputs may be more or fewer than the images.
        aligned: whether the translation of input i may be compared with image i.
        fetches: whether ``prepare`` may download and unpack; not to a folder that a stored run names.
        modality: what the examples are: a name of ``sparring.data.modalities``.
        dtype: of an example's numbers.
        groups: a number for each example, unreadable ones included; examples of equal numbers, e.g. the pieces of one
            recording, are held out together. None: each by itself. Read after ``prepare``.
    """

    inputs: "Source | None" = None
    paired = True
    aligned = True
    fetches = True
    modality = "images"
    dtype = np.dtype(np.uint8)
    groups: Sequence[int] | None = None

    def __init__(self, image_size: int, channels: int, class_names: Sequence[str] = ()):
        self.image_size = image_size
        self.channels = channels
        self.class_names = list(class_names)

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 without labels."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an example."""
        return self.channels, self.image_size, self.image_size

    @property
    def facts(self) -> dict[str, Any]:
        """Keys of ``data`` that the source fills in, for networks and for whoever shows their samples."""
        kind = {"modality": self.modality, "num_classes": self.num_classes}
        return kind | {"image_size": self.image_size, "channels": self.channels}

    def prepare(self) -> None:
        """Make sure that the data are in place; download them if need be.

        Raises:
            UserError: they are missing; the message says how to get them.
        """

    def drawn(self) -> "Data | None":
        """Return the whole data set if it needs no decoding and no cache; else None."""
        return None

    def identity(self) -> dict:
        """Return what the decoded examples depend on besides name, size and channels, as JSON."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Return the number of examples, unreadable ones included."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Example]:
        """Yield the examples in order."""
        raise NotImplementedError


class Files(Source):
    """Images, or examples of another kind, in files that are decoded on all cores.

    Args:
        path: their folder, which names the data.
        files: their paths, as strings (they take less memory), and labels (-1 without).
        image_size: pixels of a side.
        channels: 1 or 3.
        class_names: names of the labels 0, 1, ...
        crop: side of the centre square, in pixels of the files; None for the shorter side.
        on_bad_image: ``error`` stops at an unreadable file and names it; ``skip`` leaves it out and counts it.
    """

    kind = "an image"  # what a file holds, in messages

    def __init__(
        self,
        path: Path,
        files: list[tuple[str, int]],
        image_size: int,
        channels: int = 3,
        class_names: Sequence[str] = (),
        crop: int | None = None,
        on_bad_image: OnBadImage = "error",
    ):
        super().__init__(image_size, channels, class_names)
        self.path, self.files = path, files
        self.crop, self.on_bad_image = crop, on_bad_image

    @property
    def name(self) -> str:
        return self.path.absolute().name

    def parts(self) -> Sequence[tuple]:
        """Return for each example its file, its label, and further arguments of ``decode``."""
        return self.files

    def open_image(self, path: Path) -> Image.Image:
        """Decode a file to the image whose centre square is used; may raise anything."""
        return read(path)

    def decode(self, path: Path) -> np.ndarray:
        """Decode a file to an example; may raise anything."""
        return fit(self.open_image(path), self.image_size, self.channels, self.crop)

    def identity(self) -> dict:
        digest = hashlib.sha256()
        for path, label in self.files:
            try:
                status = os.stat(path)
                version = f"{label}\0{status.st_size}\0{status.st_mtime_ns}"
            except OSError:  # e.g. a broken link: an error when it is decoded
                version = f"{label}\0missing"
            digest.update(os.fsencode(path) + f"\0{version}\n".encode())
        return {"files": digest.hexdigest(), "crop": self.crop, "on_bad_image": self.on_bad_image}

    def __len__(self) -> int:
        return len(self.parts())

    def __iter__(self) -> Iterator[Example]:
        readable: set[int] = set()  # labels
        unreadable: set[int] = set()
        for pixels, label in map_in_threads(self._example, self.parts(), math.prod(self.shape)):
            (unreadable if pixels is None else readable).add(label)
            yield pixels, label
        if self.class_names and readable and (lost := sorted(unreadable - readable)):
            raise UserError(
                f"data.on_bad_image=skip: none of the {self.modality} of the class {self.class_names[lost[0]]} of "
                f"{self.name} can be read; mend or remove them all"
            )

    def _example(self, part: tuple) -> Example:
        path, label, *arguments = part
        try:
            with decoding(path, self.kind):
                return self.decode(Path(path), *arguments), label
        except UnreadableFileError as error:
            if self.on_bad_image == "skip":
                return None, label
            raise UserError(f"{error}.\nMend or remove it, or skip such files: data.on_bad_image=skip.") from error


class Arrays(Source, ABC):
    """Images in one uint8 array, (N, H, W) or (N, H, W, C), with labels or without."""

    _arrays: tuple[np.ndarray, np.ndarray | None] | None = None

    @abstractmethod
    def load(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return images and labels (N,)."""

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Images and labels, loaded once."""
        if self._arrays is None:
            self._arrays = self.load()
        return self._arrays

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __iter__(self) -> Iterator[Example]:
        images, labels = self.arrays
        pixels = map_in_threads(self.decode, images, math.prod(self.shape))
        yield from zip(pixels, [-1] * len(images) if labels is None else labels.tolist(), strict=True)

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Turn one of the arrays into an example."""
        return fit_array(array, self.image_size, self.channels)


def map_in_threads(function: Callable, items: Iterable, size: int) -> Iterator:
    """Yield a function's results, of ``size`` bytes each, in order; threads compute a limited number of them ahead."""
    workers = min(os.cpu_count() or 1, 32)  # more threads than cores wait for each other's Python
    together = min(max(2**24 // size, 1), 32)  # handing over an item costs about as much as opening a file
    with ThreadPoolExecutor(workers) as threads:
        remaining, ahead = iter(items), deque()
        try:
            while (group := list(islice(remaining, together))) or ahead:
                if group:
                    ahead.append(threads.submit(lambda group: [function(item) for item in group], group))
                if not group or len(ahead) == 2 * workers:
                    yield from ahead.popleft().result()
        finally:  # after an error, or when the caller stops early
            for future in ahead:
                future.cancel()


def stamp(*paths: Path) -> list:
    """Return name, size and time of files, which tell one version from another; raise UserError if one is missing."""
    try:
        return [[str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    except OSError as error:
        raise UserError(f"{error.filename} can't be read ({error.strerror})") from error
