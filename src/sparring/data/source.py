"""The interface of a data set, and the two kinds there are: files that are decoded, arrays that lie ready."""

import hashlib
import math
import os
from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from sparring.config.errors import UserError
from sparring.data.image_io import Unreadable, decoding, fit, read

if TYPE_CHECKING:
    from sparring.data.dataset import Data

Example = tuple[np.ndarray | None, int]  # of the source's shape and dtype, None if unreadable and skipped; label, or -1


class Source(ABC):
    """A data set. Building one costs little and downloads nothing; ``prepare`` does.

    Attributes:
        image_size: pixels of a side, of the square images it yields.
        channels: 1 or 3.
        class_names: of the labels 0, 1, ...; empty for data without labels.
        inputs: of data for translation: the source of what the images are made from; None for others.
        paired: whether input i belongs to image i. Unpaired inputs may be more or fewer than the images.
        fetches: whether ``prepare`` may download and unpack; not into a folder that a stored run names.
        aligned: whether answers to inputs may be compared with the images of the same rows.
        modality: the name of what its examples are, of ``sparring.data.modalities``.
        dtype: of the numbers of an example.
        groups: a number for each example, unreadable ones included, equal for those that are held out together or not at all, pieces
            of one recording for instance; None where each is by itself. Asked after ``prepare``.
    """

    inputs: "Source | None" = None
    paired = True
    fetches = True
    aligned = True
    modality = "images"
    dtype = np.dtype(np.uint8)
    groups: Sequence[int] | None = None

    def __init__(self, image_size: int, channels: int, class_names: Sequence[str] = ()):
        if image_size < 1:
            raise ValueError(f"data.image_size={image_size}: must be positive")
        if channels not in (1, 3):
            raise ValueError(f"data.channels={channels}: must be 1 (grey) or 3 (RGB)")
        self.image_size = image_size
        self.channels = channels
        self.class_names = list(class_names)

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @property
    def num_classes(self) -> int:
        """Number of labels, 0 for data without."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an example."""
        return self.channels, self.image_size, self.image_size

    @property
    def facts(self) -> dict[str, Any]:
        """What networks, and those who show what they make, have to know of the data: keys of ``data`` that it fills in."""
        kind = {"modality": self.modality, "num_classes": self.num_classes}
        return kind | {"image_size": self.image_size, "channels": self.channels}

    def prepare(self) -> None:  # noqa: B027, most data are simply there
        """See to it that the data are there, by a download if need be.

        Raises:
            UserError: they are not, and how to get them.
        """

    def drawn(self) -> "Data | None":
        """The examples, where they are drawn from a distribution and nothing has to be decoded."""
        return None

    @abstractmethod
    def identity(self) -> dict:
        """What the decoded images depend on besides name, size and channels; JSON. Called after ``prepare``."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples, unreadable ones included. Called after ``prepare``."""

    @abstractmethod
    def __iter__(self) -> Iterator[Example]:
        """The examples in order. Called after ``prepare``."""


class Listing(Sequence):
    """Files below a folder and their labels. A path is made when it is asked for: millions of them would fill the memory.

    Args:
        folder: where they lie.
        names: paths relative to it.
        labels: of each; -1 by default.
    """

    def __init__(self, folder: Path, names: list[str], labels: Iterable[int] | None = None):
        self.folder, self.names = folder, names
        self.labels = array("q", [-1]) * len(names) if labels is None else array("q", labels)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> tuple[Path, int]:
        return Path(self.folder, self.names[i]), self.labels[i]

    def sort(self, key: Callable[[tuple[Path, int]], Any]) -> None:
        order = sorted(range(len(self)), key=lambda i: key(self[i]))
        self.names, self.labels = [self.names[i] for i in order], array("q", (self.labels[i] for i in order))


class Files(Source):
    """Images in files, or examples of another kind, decoded on all cores.

    Args:
        crop: side of the centre square that is kept, in pixels of the files; by default the shorter side.
        on_bad_image: ``error`` stops at an unreadable file and names it, ``skip`` leaves it out and counts it.
    """

    kind = "an image"  # of a file

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        class_names: Sequence[str] = (),
        crop: int | None = None,
        on_bad_image: Literal["error", "skip"] = "error",
    ):
        super().__init__(image_size, channels, class_names)
        if crop is not None and crop < 1:
            raise ValueError(f"data.crop={crop}: must be positive, or null for the shorter side")
        self.crop = crop
        self.on_bad_image = on_bad_image

    @abstractmethod
    def files(self) -> Sequence[tuple[Path, int]]:
        """The image files and their labels (-1 without)."""

    def parts(self) -> Sequence[tuple]:
        """What each example is made of: a file, its label, and what else ``fitted`` is to be told."""
        return self.files()

    def picture(self, path: Path) -> Image.Image:
        """A file's image, from which the centre square is taken. Called ``decoding``: it may raise anything."""
        return read(path)

    def fitted(self, path: Path) -> np.ndarray:
        """A file as an example, and of one that gives several which of them ``parts`` tells. Called ``decoding``."""
        return fit(self.picture(path), self.image_size, self.channels, self.crop)

    def identity(self) -> dict:
        digest = hashlib.sha256()
        for path, label in self.files():
            try:
                status = path.stat()
                version = f"{label}\0{status.st_size}\0{status.st_mtime_ns}"
            except OSError:  # e.g. a link to nowhere: told, or skipped, when it is read
                version = f"{label}\0missing"
            digest.update(os.fsencode(path) + f"\0{version}\n".encode())
        return {"files": digest.hexdigest(), "crop": self.crop, "on_bad_image": self.on_bad_image}

    def __len__(self) -> int:
        return len(self.parts())

    def __iter__(self) -> Iterator[Example]:
        kept, lost = set(), set()  # classes with an image that can be read, and with one that can't
        for pixels, label in in_threads(self._decode, self.parts(), math.prod(self.shape)):
            (lost if pixels is None else kept).add(label)
            yield pixels, label
        if self.class_names and kept and (lost := sorted(lost - kept)):
            raise UserError(
                f"data.on_bad_image=skip: none of the {self.modality} of the class {self.class_names[lost[0]]} of {self.name} can be read; mend or remove them all"
            )

    def _decode(self, part: tuple) -> Example:
        path, label, *which = part
        try:
            with decoding(path, self.kind):
                return self.fitted(path, *which), label
        except Unreadable as error:
            if self.on_bad_image == "skip":
                return None, label
            raise UserError(
                f"{error}.\nMend or remove it, or leave out such files with data.on_bad_image=skip."
            ) from error


class Arrays(Source):
    """Images that lie in one uint8 array, (N, H, W) or (N, H, W, C), with labels or none."""

    @abstractmethod
    def load(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Images and labels (N,)."""

    def __len__(self) -> int:
        return len(self._loaded()[0])

    def __iter__(self) -> Iterator[Example]:
        images, labels = self._loaded()
        pixels = in_threads(self.fitted, images, math.prod(self.shape))
        yield from zip(pixels, [-1] * len(images) if labels is None else labels.tolist(), strict=True)

    def fitted(self, array: np.ndarray) -> np.ndarray:
        """One of the arrays as an example."""
        return fit_array(array, self.image_size, self.channels)

    def _loaded(self) -> tuple[np.ndarray, np.ndarray | None]:
        if not hasattr(self, "_arrays"):
            self._arrays = self.load()
        return self._arrays


def fit_array(array: np.ndarray, image_size: int, channels: int) -> np.ndarray:
    """An image (H, W) or (H, W, C) uint8, cropped, resized and of as many channels: (channels, image_size, image_size)."""
    array = array.squeeze(-1) if array.ndim == 3 and array.shape[-1] == 1 else array
    return fit(Image.fromarray(np.ascontiguousarray(array)), image_size, channels)


def in_threads(function: Callable, items: Iterable, size: int) -> Iterator:
    """Results of a function, of ``size`` bytes, in order. Each thread has a few groups of items before it, so that none waits and few
    results are in memory.
    """
    workers = min(os.cpu_count() or 1, 32)  # more than cores would wait for each other's Python
    together = min(max(2**24 // size, 1), 32)  # handing over costs about as much as opening a file
    with ThreadPoolExecutor(workers) as threads:
        remaining, ahead = iter(items), deque()
        try:
            while (group := list(islice(remaining, together))) or ahead:
                if group:
                    ahead.append(threads.submit(lambda items: [function(item) for item in items], group))
                if not group or len(ahead) == 2 * workers:
                    yield from ahead.popleft().result()
        finally:  # after an error, or when no more is asked for
            for future in ahead:
                future.cancel()


def stamp(*paths: Path) -> list:
    """Name, size and time of files: what tells one version of them from another. Raises UserError if one is not there."""
    try:
        return [[str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    except OSError as error:
        raise UserError(f"{error.filename} can't be read ({error.strerror})") from error
