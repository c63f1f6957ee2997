"""A person's own images in a .npz or .npy file."""

from pathlib import Path

import numpy as np
from pydantic import PositiveInt

from sparring.config.errors import UserError
from sparring.data.image_io import check_size
from sparring.data.npz import ArraysIn
from sparring.data.source import Arrays, Channels, stamp


class ArrayFile(Arrays):
    """A .npz with an array of images and perhaps one of labels, or a .npy with images alone.

    Args:
        path: the file; images are uint8 of shape (N, H, W) or (N, H, W, C) with C 1 or 3.
        image_size: pixels of a side; None for the file's own, whose images must then be square.
        channels: 1 or 3; None for the file's own.
        images_key: name of the array of images in a .npz.
        labels_key: name of the array of labels: integers from 0, of shape (N,) or (N, 1). It may be missing.

    Raises:
        UserError: the file holds no such arrays.
    """

    images_option = "images_key"  # the key that names the array of images, in messages
    axes, dtypes = "N, H, W", ("uint8",)  # of the array of images

    def __init__(
        self,
        path: str,
        image_size: PositiveInt | None = None,
        channels: Channels | None = None,
        images_key: str = "images",
        labels_key: str = "labels",
    ):
        self.path = Path(path).expanduser()
        self.images_key, self.labels_key = images_key, labels_key
        images, labels = self.arrays
        height, width, *colours = images.shape[self.axes.count(",") - 1 :]
        if image_size is None and height != width:
            raise UserError(
                f"data.path={path}: its images are {height}x{width}; "
                "give the side of the square that they are cropped and resized to: data.image_size=..."
            )
        classes = 0 if labels is None else int(labels.max()) + 1
        super().__init__(image_size or height, channels or (*colours, 1)[0], [str(label) for label in range(classes)])

    @property
    def name(self) -> str:
        return self.path.stem

    def identity(self) -> dict:
        return {"file": stamp(self.path), "keys": [self.images_key, self.labels_key]}

    def load(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return images and labels; raise UserError if the file is not as the class describes it."""
        if not self.path.exists():
            raise UserError(f"data.path={self.path}: no such file")
        try:
            content = ArraysIn(self.path, only=self.images_key)
            if self.images_key not in content.names:
                held = ", ".join(content.names) or "no arrays"
                raise UserError(f"data.{self.images_option}={self.images_key}: {self.path} holds {held}")
            check_images(content, self.images_key, self.modality, self.axes, self.dtypes)
            labels = self._read_labels(content) if self.labels_key in content.names else None
            return content.read(self.images_key), labels
        except UserError:
            raise
        except ValueError as error:
            raise UserError(
                f"data.path={self.path} can't be read as .npz or .npy with plain arrays ({error})"
            ) from error

    def _read_labels(self, content: ArraysIn) -> np.ndarray:
        """Return labels (N,) int64; every label up to the highest occurs."""
        header, count = content.header(self.labels_key), content.header(self.images_key).shape[0]
        key = f"data.path={self.path}: '{self.labels_key}'"
        wanted = f"labels must be integers from 0, of shape ({count},). Ignore them with data.labels_key=none."
        if header.shape not in ((count,), (count, 1)) or header.dtype.kind not in "iu":
            raise UserError(f"{key} is {header}; {wanted}")
        labels = content.read(self.labels_key).reshape(-1)
        known = np.unique(labels)
        if known[0] < 0:
            raise UserError(f"{key} holds {known[0]}; {wanted}")
        if missing := int(known[-1]) + 1 - len(known):
            first = int((known != np.arange(len(known))).argmax())
            raise UserError(
                f"{key} goes up to {known[-1]} but {missing:,} of the labels below it, {first} the first of them, "
                "never occur; number the classes 0, 1, 2 ... without gaps"
            )
        return labels.astype(np.int64)


def check_images(
    content: ArraysIn, key: str, kind: str = "images", axes: str = "N, H, W", dtypes: tuple[str, ...] = ("uint8",)
) -> None:
    """Check by its header that an array holds images (or what ``kind`` says); an axis of colours may follow ``axes``.

    Raises:
        UserError: it holds something else, or nothing.
        ValueError: an image is too large, or the file can't be read.
    """
    header, count = content.header(key), axes.count(",") + 1
    shape = header.shape
    if str(header.dtype) not in dtypes or len(shape) < count or shape[count:] not in ((), (1,), (3,)):
        raise UserError(
            f"data.path={content.path}: '{key}' is {header}; {kind} must be {' or '.join(dtypes)} of shape ({axes}) or "
            f"({axes}, C), C 1 or 3"
        )
    if 0 in shape:
        raise UserError(f"data.path={content.path}: '{key}' holds no {kind}")
    check_size(shape[count - 1], shape[count - 2])
