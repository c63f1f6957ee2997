"""Sets of images to be scored: decoded data, a folder, an array file."""

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
from sparring.data.held_out import Columns
from sparring.data.image_io import SUFFIXES, check_size, decoding, opened
from sparring.data.image_resizing import in_8_bits
from sparring.data.npz import ArraysIn, Header
from sparring.data.source import stamp
from sparring.randomness import generator

MOST_CLASSES = 2**16


class ImageSet(ABC):
    """Images in a fixed order.

    Attributes:
        name: where they come from, for the protocol of a score.
        image_size: height and width in pixels.
        labels: (N,) int64; None without.
        identity: JSON that decides their pixels; the cache of their features is keyed by it.
        facts: what else belongs into the protocol of a score.
        baselines: sets that are to be scored beside it.
        lower_is_better: which of its own scores fall as it gets better.
    """

    name: str
    image_size: tuple[int, int]
    labels: Tensor | None = None
    identity: dict
    facts: dict = {}
    baselines: Sequence["ImageSet"] = ()
    lower_is_better: Sequence[str] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def images(self, rows: Sequence[int]) -> Tensor:
        """The images of these rows as uint8 (len(rows), C, H, W), C 1 or 3."""

    def targets(self, rows: range) -> Tensor | None:
        """What they were to be, uint8 (len(rows), C, H, W); None where that is not known."""
        return None

    def own_scores(self, baseline: "ImageSet | None" = None) -> dict[str, float]:
        """Scores that whoever made them has of its own; or what it says of one of the ``baselines``."""
        return {}


class Decoded(ImageSet):
    """A decoded data set, or a part of it.

    Args:
        data: the whole.
        columns: the part's, by name; None for all.
        part: what it is called, if it is one.
    """

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
    """Every image in or below a folder, in the order of the paths, as torch-fidelity reads them: RGB, as they are.

    Raises:
        UserError: none there, an unreadable one, or several sizes.
    """

    def __init__(self, path: Path):
        self.name = str(path)
        names = [Path(folder, name) for folder, found in walk(path) for name in found]
        self.paths = sorted(p for p in names if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not self.paths:
            raise UserError(f"{path}: no image ({', '.join(sorted(SUFFIXES))}) in it or below it")
        sizes: dict[tuple[int, int], Path] = {}
        counts = Counter()
        with ThreadPoolExecutor() as threads:
            for file, size in zip(self.paths, threads.map(self._size, self.paths), strict=True):
                sizes.setdefault(size, file)
                counts[size] += 1
        if len(sizes) > 1:
            kinds = ", ".join(f"{w}x{h} ({counts[w, h]:,}, e.g. {sizes[w, h].name})" for w, h in list(sizes)[:4])
            raise UserError(
                f"{path} holds images of {len(sizes)} sizes: {kinds}. Only images of one size are scored as they are; to crop "
                "and resize reals say real=image_folder data.path=DIR data.image_size=N"
            )
        self.image_size = next(iter(sizes))[::-1]
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

    @staticmethod
    def _size(path: Path) -> tuple[int, int]:
        with decoding(path), opened(path) as image:
            return image.size

    def _pixels(self, path: Path) -> np.ndarray:
        with decoding(path), opened(path) as image:
            if image.size != self.image_size[::-1]:
                raise ValueError("it was replaced by another")
            return np.asarray(in_8_bits(image).convert("RGB"))


class ArrayImages(ImageSet):
    """The images of a .npz or .npy file: uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), and ``labels`` (N,) if there.

    In a .npz the images are the array named ``images`` or the only one that can be images.

    Raises:
        UserError: the file holds no such array, or several.
    """

    def __init__(self, path: Path):
        self.name, self.path = str(path), path
        try:
            content = ArraysIn(path)
            headers = {name: content.header(name) for name in content.names}
            fitting = [name for name, header in headers.items() if _are_images(header)]
            if "images" in fitting:
                fitting = ["images"]
            if len(fitting) != 1:
                found = ", ".join(f"{name} {header}" for name, header in headers.items()) or "nothing"
                raise UserError(
                    f"{path} holds {found}; wanted: one array of images, uint8 of shape (N, H, W), (N, H, W, C) or "
                    "(N, C, H, W) with C 1 or 3, or one of that kind named 'images'"
                )
            array = content.read(fitting[0])
            if array.ndim == 3:
                array = array[:, None]
            elif array.shape[3] in (1, 3):
                array = array.transpose(0, 3, 1, 2)
            check_size(array.shape[3], array.shape[2])
            if "labels" in headers:
                self.labels = self._read_labels(content, headers["labels"], len(array))
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{path} can't be read as .npz or .npy with plain arrays ({error})") from error
        self._images = array
        self.image_size = array.shape[2:]
        self.identity = {"file": stamp(path), "array": fitting[0]}

    @staticmethod
    def _read_labels(content: ArraysIn, header: Header, count: int) -> Tensor:
        wanted = f"wanted: integers ({count},) from 0, below {MOST_CLASSES:,}"
        if header.shape != (count,) or header.dtype.kind not in "iu":
            raise UserError(f"{content.path}: its labels are {header}; {wanted}")
        labels = content.read("labels")
        if labels.min() < 0 or labels.max() >= MOST_CLASSES:
            raise UserError(f"{content.path}: its labels lie between {labels.min()} and {labels.max()}; {wanted}")
        return torch.from_numpy(labels.astype(np.int64))

    def __len__(self) -> int:
        return len(self._images)

    def images(self, rows: Sequence[int]) -> Tensor:
        chosen = self._images[rows.start : rows.stop] if isinstance(rows, range) else self._images[list(rows)]
        return torch.from_numpy(np.array(chosen))


class Subset(ImageSet):
    """``count`` images of a set, chosen at random but always the same: data sets are often sorted by class."""

    def __init__(self, of: ImageSet, count: int):
        order = torch.randperm(len(of), generator=generator("evaluation subset"))
        self._of, self._rows = of, order[:count].sort().values
        self.name, self.image_size = of.name, of.image_size
        self.labels = None if of.labels is None else of.labels[self._rows]
        self.identity = {**of.identity, "count": count}

    def __len__(self) -> int:
        return len(self._rows)

    def images(self, rows: Sequence[int]) -> Tensor:
        return self._of.images(self._rows[list(rows)].tolist())


def like(images: Tensor, shape: torch.Size) -> Tensor:
    """uint8 images (batch, C, H, W) with the channels, height and width of ``shape``."""
    if images.shape[1] != shape[0]:
        images = rgb_to_grayscale(images) if shape[0] == 1 else images.expand(-1, 3, -1, -1)
    return images if images.shape[2:] == shape[1:] else resize(images, list(shape[1:]), antialias=True)


def open_images(path: str, key: str) -> ImageSet:
    """The images of a folder, .npz or .npy that was named under ``key``.

    Raises:
        UserError: there is nothing that could be scored.
    """
    place = Path(path).expanduser()
    try:
        if place.is_dir():
            return Folder(place)
        if place.is_file() and place.suffix.lower() in (".npz", ".npy"):
            return ArrayImages(place)
    except UserError as error:
        raise UserError(f"{key}={path}: {error}") from error
    raise UserError(
        f"{key}={path}: {'must be a folder of images, a .npz or a .npy' if place.exists() else 'no such file or folder'}"
    )


def _are_images(array: Header) -> bool:
    if array.dtype != np.uint8 or array.size == 0:
        return False
    shape = array.shape
    return len(shape) == 3 or len(shape) == 4 and (shape[3] in (1, 3) or shape[1] in (1, 3))
