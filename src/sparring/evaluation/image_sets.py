"""Stored sets of images to score: decoded data, a folder, an array file."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import resize, rgb_to_grayscale

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.file_listing import walk
from sparring.data.image_io import SUFFIXES, check_size, decoding, opened
from sparring.data.image_resizing import in_8_bits
from sparring.data.npz import ArraysIn, Header
from sparring.data.source import stamp
from sparring.data.splits import Columns
from sparring.randomness import generator

MAX_CLASSES = 2**16


class ImageSet(ABC):
    """Images in a fixed order."""

    name: str  # where they come from, for the protocol of a score
    image_size: tuple[int, ...]  # height and width in pixels
    labels: Tensor | None = None  # (N,) int64
    identity: dict  # JSON that decides the pixels; part of the cache key of their features
    facts: dict = {}  # further entries for the protocol of a score
    baselines: Sequence["ImageSet"] = ()  # sets to score next to this one
    lower_is_better: Sequence[str] = ()  # which of its ``own_scores`` fall as it gets better

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def images(self, rows: Sequence[int]) -> Tensor:
        """Return the images of these rows, uint8 (len(rows), C, H, W), C 1 or 3."""

    def targets(self, rows: range) -> Tensor | None:
        """Return the wanted images of these rows, uint8 (len(rows), C, H, W), or None if they are unknown."""
        return None

    def own_scores(self, baseline: "ImageSet | None" = None) -> dict[str, float]:
        """Return the generator's own scores, such as a likelihood, of this set or of one of its ``baselines``."""
        return {}


class Decoded(ImageSet):
    """A decoded data set, or the part of it with these ``columns``."""

    def __init__(self, data: Data, columns: Columns | None = None, part: str | None = None):
        columns = data.columns if columns is None else columns
        self.name, self.identity, self.columns = part or data.name, {"data": data.key}, columns
        self._images, self.labels = columns["images"], columns["labels"][:] if "labels" in columns else None
        if part:
            self.identity |= {"part": part, "count": len(self._images)}
        self.image_size = tuple(self._images.shape[2:])

    def __len__(self) -> int:
        return len(self._images)

    def images(self, rows: Sequence[int]) -> Tensor:
        return self._images[rows.start : rows.stop] if isinstance(rows, range) else self._images[torch.tensor(rows)]


class Folder(ImageSet):
    """All images in or below a folder as RGB, unchanged and in the order of their paths, as torch-fidelity reads them.

    Raises:
        UserError: there are no images, an unreadable one, or several sizes.
    """

    def __init__(self, path: Path):
        self.name = str(path)
        files = [Path(folder, name) for folder, names in walk(path) for name in names]
        self.paths = sorted(p for p in files if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not self.paths:
            raise UserError(f"{path}: no image ({', '.join(sorted(SUFFIXES))}) in it or below it")
        with ThreadPoolExecutor() as threads:
            sizes = list(threads.map(_size, self.paths))
        if len(counts := Counter(sizes)) > 1:
            kinds = ", ".join(
                f"{w}x{h} ({count:,}, e.g. {self.paths[sizes.index((w, h))].name})"
                for (w, h), count in list(counts.items())[:4]
            )
            raise UserError(
                f"{path} holds images of {len(counts)} sizes: {kinds}. Only images of one size are scored; to crop and "
                "resize reals use real=image_folder data.path=DIR data.image_size=N"
            )
        self.image_size = sizes[0][::-1]
        digest = hashlib.sha256()
        for file, (_, size, changed) in zip(self.paths, stamp(*self.paths), strict=True):
            digest.update(os.fsencode(file.absolute()) + f"\0{size}\0{changed}\n".encode())
        self.identity = {"files": digest.hexdigest()}

    def __len__(self) -> int:
        return len(self.paths)

    def images(self, rows: Sequence[int]) -> Tensor:
        with ThreadPoolExecutor() as threads:
            pixels = list(threads.map(self._pixels, [self.paths[row] for row in rows]))
        return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)

    def _pixels(self, path: Path) -> np.ndarray:
        with decoding(path), opened(path) as image:
            if image.size != self.image_size[::-1]:
                raise ValueError("its size has changed")
            return np.asarray(in_8_bits(image).convert("RGB"))


def _size(path: Path) -> tuple[int, int]:
    with decoding(path), opened(path) as image:
        return image.size


class ArrayImages(ImageSet):
    """The images of a .npz or .npy file: uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), and their ``labels`` (N,).

    In a .npz, the images are the array named ``images`` or the only one that can be images; labels are optional.

    Raises:
        UserError: the file holds no such array, or several.
    """

    def __init__(self, path: Path):
        self.name = str(path)
        try:
            content = ArraysIn(path)
            headers = {name: content.header(name) for name in content.names}
            names = [name for name, header in headers.items() if _are_images(header)]
            names = ["images"] if "images" in names else names
            if len(names) != 1:
                found = ", ".join(f"{name} {header}" for name, header in headers.items()) or "nothing"
                raise UserError(
                    f"{path} holds {found}; wanted: one array of images, uint8 of shape (N, H, W), (N, H, W, C) or "
                    "(N, C, H, W) with C 1 or 3, or one of that kind named 'images'"
                )
            array = content.read(names[0])
            if array.ndim == 3:
                array = array[:, None]
            elif array.shape[3] in (1, 3):
                array = array.transpose(0, 3, 1, 2)
            check_size(array.shape[3], array.shape[2])
            if "labels" in headers:
                self.labels = _read_labels(content, headers["labels"], len(array))
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{path} can't be read as .npz or .npy with plain arrays ({error})") from error
        self._images = array
        self.image_size = array.shape[2:]
        self.identity = {"file": stamp(path), "array": names[0]}

    def __len__(self) -> int:
        return len(self._images)

    def images(self, rows: Sequence[int]) -> Tensor:
        chosen = self._images[rows.start : rows.stop] if isinstance(rows, range) else self._images[list(rows)]
        return torch.from_numpy(np.array(chosen))


def _are_images(array: Header) -> bool:
    if array.dtype != np.uint8 or array.size == 0:
        return False
    shape = array.shape
    return len(shape) == 3 or len(shape) == 4 and (shape[3] in (1, 3) or shape[1] in (1, 3))


def _read_labels(content: ArraysIn, header: Header, count: int) -> Tensor:
    wanted = f"wanted: integers ({count},) from 0, below {MAX_CLASSES:,}"
    if header.shape != (count,) or header.dtype.kind not in "iu":
        raise UserError(f"{content.path}: its labels are {header}; {wanted}")
    labels = content.read("labels")
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise UserError(f"{content.path}: its labels lie between {labels.min()} and {labels.max()}; {wanted}")
    return torch.from_numpy(labels.astype(np.int64))


class Subset(ImageSet):
    """``count`` images of a set, chosen at random but always the same ones: data are often sorted by class."""

    def __init__(self, images: ImageSet, count: int):
        order = torch.randperm(len(images), generator=generator("evaluation subset"))
        self._whole, self._rows = images, order[:count].sort().values
        self.name, self.image_size = images.name, images.image_size
        self.labels = None if images.labels is None else images.labels[self._rows]
        self.identity = {**images.identity, "count": count}

    def __len__(self) -> int:
        return len(self._rows)

    def images(self, rows: Sequence[int]) -> Tensor:
        return self._whole.images(self._rows[list(rows)].tolist())


def at_most(images: ImageSet, count: int) -> ImageSet:
    """Return the set, or a ``Subset`` of it if it holds more than ``count`` images."""
    return images if len(images) <= count else Subset(images, count)


def like(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Return uint8 images (batch, C, H, W) with the channels, height and width of ``shape``."""
    if images.shape[1] != shape[0]:
        images = rgb_to_grayscale(images) if shape[0] == 1 else images.expand(-1, 3, -1, -1)
    return images if images.shape[2:] == shape[1:] else resize(images, list(shape[1:]), antialias=True)


def open_images(path: str, key: str) -> ImageSet:
    """Open the folder, .npz or .npy that ``key`` names.

    Raises:
        UserError: it holds nothing that can be scored.
    """
    file = Path(path).expanduser()
    try:
        if file.is_dir():
            return Folder(file)
        if file.is_file() and file.suffix.lower() in (".npz", ".npy"):
            return ArrayImages(file)
    except UserError as error:
        raise UserError(f"{key}={path}: {error}") from error
    reason = "must be a folder of images, a .npz or a .npy" if file.exists() else "no such file or folder"
    raise UserError(f"{key}={path}: {reason}")
