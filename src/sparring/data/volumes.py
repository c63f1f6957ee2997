"""Clips and voxels: a person's own arrays of them, and solids that are drawn."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.array_files import ArrayFile
from sparring.data.dataset import Data
from sparring.data.image_io import check_size
from sparring.data.modalities.volumes import Voxels
from sparring.data.npz import Header
from sparring.data.source import Example, Source, fit_array
from sparring.randomness import generator
from sparring.storage.tensor_files import hash_of


class Volumetric(Source):
    """Examples (channels, frames, image_size, image_size) uint8; ``frames`` is the depth of voxels, too."""

    frames: int  # 1 or more

    @property
    def shape(self) -> tuple[int, ...]:
        return self.channels, self.frames, self.image_size, self.image_size

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {"frames": self.frames}


class Volumes(Volumetric, ArrayFile):
    """A .npz with an array of clips or voxels and perhaps one of labels, or a .npy without labels.

    Each frame is cropped to its centre square and resized. Of clips as many frames as are wanted are taken, at equal distances, the
    first and the last among them; voxels are resized in depth.

    Args:
        path: the file; examples are uint8 of shape (N, frames, H, W) or (N, frames, H, W, C), C 1 or 3, or bool: full or empty.
        kind: ``clips`` or ``voxels``, whose slices in depth stand where the frames do.
        image_size: pixels of a side; by default that of the file, whose frames must then be square.
        frames: by default those of the file.
        channels: 1 or 3; by default that of the file.
        images_key, labels_key: the arrays' names in a .npz. Labels (N,) or (N, 1) are integers from 0; they may be absent.
    """

    before = 2

    def __init__(
        self,
        path: str,
        kind: Literal["clips", "voxels"],
        image_size: int | None = None,
        frames: int | None = None,
        channels: int | None = None,
        images_key: str = "images",
        labels_key: str = "labels",
    ):
        self.modality = kind
        super().__init__(path, image_size, channels, images_key, labels_key)
        volumes, there = self._arrays[0], self._arrays[0].shape[1]
        some = volumes[:: -(-len(volumes) // 100)]  # from everywhere: the first may all be empty
        if volumes.dtype == np.uint8 and some.max() == 1:
            raise UserError(
                f"data.path={path}: is uint8 of 0 and 1, and 255 is full; save it as bool, or 255 times as much"
            )
        self.frames = frames or there
        if kind == "clips" and self.frames > there:
            raise UserError(f"data.frames={frames}: the clips of data.path={path} have {there}; take as many, or fewer")

    def identity(self) -> dict:
        return super().identity() | {"kind": self.modality, "frames": self.frames}

    def fitted(self, array: np.ndarray) -> np.ndarray:
        array = 255 * array.astype(np.uint8) if array.dtype == bool else array
        if self.modality == "clips":
            array = array[np.linspace(0, len(array) - 1, self.frames).round().astype(int)]
        volume = np.stack([fit_array(frame, self.image_size, self.channels) for frame in array], 1)
        return np.stack([_of_depth(channel, self.frames) for channel in volume])

    def _check_images(self, images: Header) -> None:
        wanted = "(N, frames, H, W) or (N, frames, H, W, C), C 1 or 3"
        if images.dtype not in (np.uint8, bool) or len(images.shape) < 4 or images.shape[4:] not in ((), (1,), (3,)):
            raise UserError(
                f"data.path={self.path}: '{self.images_key}' is {images}; {self.modality} must be uint8 (or bool: full or empty) of shape {wanted}"
            )
        if 0 in images.shape:
            raise UserError(f"data.path={self.path}: '{self.images_key}' holds no {self.modality}")
        check_size(images.shape[3], images.shape[2])


def _of_depth(volume: np.ndarray, depth: int) -> np.ndarray:
    """Slices (D, H, W) uint8 as (depth, H, W): bilinear with antialiasing, as slices themselves are resized."""
    if len(volume) == depth:
        return volume
    flat = Image.fromarray(volume.reshape(len(volume), -1))
    return np.asarray(flat.resize((flat.width, depth), Image.Resampling.BILINEAR)).reshape(depth, *volume.shape[1:])


class Solids(Volumetric):
    """Balls, boxes, cylinders, cones and rings as voxels, each of random size and proportions, turned around its vertical axis
    and tilted by up to 30 degrees; the same for every seed.

    Args:
        image_size: voxels of a side.
        channels: always 1.
        count: solids; every kind as often as any other.
    """

    modality = "voxels"

    def __init__(self, image_size: int = 24, channels: Literal[1] = 1, count: int = 4000):
        super().__init__(image_size, channels, ["ball", "box", "cylinder", "cone", "ring"])
        self.frames, self.count = image_size, count

    def identity(self) -> dict:
        return {"count": self.count}

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Example]:
        columns = self.drawn().columns
        yield from zip(columns["images"].numpy(), columns["labels"].tolist(), strict=True)

    def drawn(self) -> Data:
        labels = torch.arange(self.count) % self.num_classes
        numbers = torch.rand(self.count, 6, generator=generator("solids"))
        parts = [self._voxels(*part) for part in zip(labels.split(100), numbers.split(100), strict=True)]
        columns = {"images": torch.cat(parts), "labels": labels}
        return Data(columns, hash_of(columns), self.class_names, name=self.name, modality=Voxels())

    def _voxels(self, labels: Tensor, numbers: Tensor) -> Tensor:
        """Solids of these kinds (batch,) from numbers (batch, 6) in [0, 1): (batch, 1, D, H, W) uint8, smooth at the edges."""
        places = (torch.arange(self.image_size) + 0.5) / self.image_size * 2 - 1
        z, y, x = torch.meshgrid(places, places, places, indexing="ij")
        turn, tilt, size, *sides = (column.view(-1, 1, 1, 1) for column in numbers.unbind(1))
        turn, tilt, size = 2 * math.pi * turn, math.radians(30) * (2 * tilt - 1), 0.5 + 0.3 * size
        x, z = turn.cos() * x - turn.sin() * z, turn.sin() * x + turn.cos() * z
        y, z = tilt.cos() * y - tilt.sin() * z, tilt.sin() * y + tilt.cos() * z
        across = (x.square() + z.square()).sqrt()  # from the vertical axis
        wide, high, deep = (size * (0.5 + 0.5 * side) for side in sides)
        beyond = torch.stack([  # the surface of each kind; below zero inside
            (across.square() + y.square()).sqrt() - size,
            torch.maximum(torch.maximum(x.abs() - wide, y.abs() - high), z.abs() - deep),
            torch.maximum(across - 0.7 * wide, y.abs() - size),
            torch.maximum((across - wide * (y / size + 1) / 2) * 0.9, y.abs() - size),
            ((across - 0.7 * size).square() + y.square()).sqrt() - 0.4 * wide,
        ])  # fmt: skip
        chosen = beyond[labels, torch.arange(len(labels))]
        return (0.5 - chosen * self.image_size / 2).clamp(0, 1).mul(255).round().to(torch.uint8)[:, None]
