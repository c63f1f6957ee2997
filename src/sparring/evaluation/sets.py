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
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import resize, rgb_to_grayscale

from sparring.data.cache import Data
from sparring.data.folder import walk
from sparring.data.images import SUFFIXES, in_8_bits
from sparring.data.source import stamp
from sparring.errors import UserError
from sparring.randomness import generator


class ImageSet(ABC):
    """Images in a fixed order.

    Attributes:
        name: where they come from, for the protocol of a score.
        image_size: height and width in pixels.
        labels: (N,) int64; None without.
        identity: JSON that decides their pixels; the cache of their features is keyed by it.
        facts: what else belongs into the protocol of a score.
        baselines: sets that are to be scored beside it.
    """

    name: str
    image_size: tuple[int, int]
    labels: Tensor | None = None
    identity: dict
    facts: dict = {}
    baselines: Sequence["ImageSet"] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def images(self, rows: Sequence[int]) -> Tensor:
        """The images of these rows as uint8 (len(rows), C, H, W), C 1 or 3."""

    def targets(self, rows: range) -> Tensor | None:
        """What they were to be, uint8 (len(rows), C, H, W); None where that is not known."""
        return None

    def own_scores(self) -> dict[str, float]:
        """Scores that whoever made them has of its own."""
        return {}


class Decoded(ImageSet):
    """A decoded data set."""

    def __init__(self, data: Data):
        self.name, self.identity = data.name, {"data": data.key}
        self._images, self.labels = data.columns["images"], data.columns.get("labels")
        self.image_size = tuple(self._images.shape[2:])

    def __len__(self) -> int:
        return len(self._images)

    def images(self, rows: Sequence[int]) -> Tensor:
        return self._images[rows.start : rows.stop] if isinstance(rows, range) else self._images[list(rows)]


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
        for file in self.paths:
            status = file.stat()
            digest.update(os.fsencode(file.absolute()) + f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        self.identity = {"files": digest.hexdigest()}

    def __len__(self) -> int:
        return len(self.paths)

    def images(self, rows: Sequence[int]) -> Tensor:
        with ThreadPoolExecutor() as threads:
            pixels = list(threads.map(self._pixels, [self.paths[row] for row in rows]))
        return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)

    @staticmethod
    def _size(path: Path) -> tuple[int, int]:
        try:
            with Image.open(path) as image:
                return image.size
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"{path} can't be read as an image ({error})") from error

    @staticmethod
    def _pixels(path: Path) -> np.ndarray:
        try:
            with Image.open(path) as image:
                return np.asarray(in_8_bits(image).convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{path} can't be read as an image ({error})") from error


class ArrayImages(ImageSet):
    """The images of a .npz or .npy file: uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), and ``labels`` (N,) if there.

    In a .npz the images are the array named ``images`` or the only one that can be images.

    Raises:
        UserError: the file holds no such array, or several.
    """

    def __init__(self, path: Path):
        self.name, self.path = str(path), path
        try:
            content = np.load(path, mmap_mode="r", allow_pickle=False)
            arrays = (
                {"images": content} if isinstance(content, np.ndarray) else {key: content[key] for key in content.files}
            )
        except Exception as error:  # numpy's, zipfile's, zlib's, the system's
            raise UserError(f"{path} can't be read as .npz or .npy with plain arrays ({error})") from error
        fitting = {key: a for key, a in arrays.items() if _are_images(a)}
        if "images" in fitting:
            fitting = {"images": fitting["images"]}
        if len(fitting) != 1:
            found = ", ".join(f"{key} {a.dtype} {a.shape}" for key, a in arrays.items()) or "nothing"
            raise UserError(
                f"{path} holds {found}; wanted: one array of images, uint8 of shape (N, H, W), (N, H, W, C) or "
                "(N, C, H, W) with C 1 or 3, or one of that kind named 'images'"
            )
        (array,) = fitting.values()
        if array.ndim == 3:
            array = array[:, None]
        elif array.shape[3] in (1, 3):
            array = array.transpose(0, 3, 1, 2)
        self._images = array
        labels = arrays.get("labels")
        if labels is not None:
            if labels.shape != (len(array),) or labels.dtype.kind not in "iu":
                raise UserError(
                    f"{path}: its labels are {labels.dtype} {labels.shape}; wanted: integers ({len(array)},)"
                )
            self.labels = torch.from_numpy(labels.astype(np.int64))
        self.image_size = array.shape[2:]
        self.identity = {"file": stamp(path), "array": next(iter(fitting))}

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


def _are_images(array: np.ndarray) -> bool:
    if array.dtype != np.uint8 or array.size == 0:
        return False
    return array.ndim == 3 or array.ndim == 4 and (array.shape[3] in (1, 3) or array.shape[1] in (1, 3))
