"""A person's own clips or voxels in a .npz or .npy file."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from sparring.config.errors import UserError
from sparring.data.array_file import ArrayFile
from sparring.data.image_resizing import fit_array, resize_depth
from sparring.data.source import Channels, Source

Frames = Annotated[int, Field(ge=1, le=10_000)]


class Volumetric(Source):
    """Examples (channels, frames, image_size, image_size) uint8; of voxels ``frames`` is the depth."""

    frames: int  # 1 or more

    @property
    def shape(self) -> tuple[int, ...]:
        return self.channels, self.frames, self.image_size, self.image_size

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {"frames": self.frames}


class Volumes(Volumetric, ArrayFile):
    """A .npz with an array of clips or voxels and perhaps one of labels, or a .npy without labels.

    Each frame is cropped to its centre square and resized. Clips are thinned to ``frames`` equally distant frames, from
    the first to the last; voxels are resized in depth.

    Args:
        path: the file; examples are uint8 or bool (full or empty) of shape (N, frames, H, W[, C]) with C 1 or 3.
        kind: ``clips``, or ``voxels``, whose depth is the axis of the frames.
        frames: None for the file's own. All other arguments are those of ``ArrayFile``.

    Raises:
        UserError: the file holds no such arrays, or its clips are shorter.
    """

    axes, dtypes = "N, frames, H, W", ("uint8", "bool")

    def __init__(
        self,
        path: str,
        kind: Literal["clips", "voxels"],
        image_size: PositiveInt | None = None,
        frames: Frames | None = None,
        channels: Channels | None = None,
        images_key: str = "images",
        labels_key: str = "labels",
    ):
        self.modality = kind
        super().__init__(path, image_size, channels, images_key, labels_key)
        volumes = self.arrays[0]
        spread = volumes[:: -(-len(volumes) // 100)]  # from the whole file: the first may all be empty
        if volumes.dtype == np.uint8 and spread.max() == 1:
            raise UserError(f"data.path={path}: is uint8 of 0 and 1, and 255 is full; save it as bool, or times 255")
        self.frames = frames or volumes.shape[1]
        if kind == "clips" and self.frames > volumes.shape[1]:
            raise UserError(
                f"data.frames={frames}: the clips of data.path={path} have {volumes.shape[1]}; choose fewer"
            )

    def identity(self) -> dict:
        return super().identity() | {"kind": self.modality, "frames": self.frames}

    def decode(self, array: np.ndarray) -> np.ndarray:
        array = 255 * array.astype(np.uint8) if array.dtype == bool else array
        if self.modality == "clips":
            array = array[np.linspace(0, len(array) - 1, self.frames).round().astype(int)]
        volume = np.stack([fit_array(frame, self.image_size, self.channels) for frame in array], 1)
        return np.stack([resize_depth(channel, self.frames) for channel in volume])
