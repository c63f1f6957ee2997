"""CIFAR-10, downloaded and read by torchvision."""

from pathlib import Path

import numpy as np
from pydantic import PositiveInt

from sparring.data.downloads import download
from sparring.data.source import Arrays, Channels, TrainTest, stamp


class CIFAR10(Arrays):
    """50,000 training or 10,000 test images of ten classes, 32x32 RGB (Krizhevsky 2009).

    Args:
        path: root folder; the pickles are in ``cifar-10-batches-py`` below it. torchvision opens them only if their MD5
            is that of the published ones.
    """

    labels = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

    def __init__(self, path: str, image_size: PositiveInt = 32, channels: Channels = 3, split: TrainTest = "train"):
        super().__init__(image_size, channels, self.labels)
        self.folder = Path(path).expanduser()
        self.split = split

    def prepare(self) -> None:
        download(
            "CIFAR-10",
            self.folder,
            fetch=lambda: self._open(download=self.fetches),
            allowed=self.fetches or (self.folder / "cifar-10-batches-py").is_dir(),
            expected="cifar-10-python.tar.gz, or its content cifar-10-batches-py/",
            where="https://www.cs.toronto.edu/~kriz/cifar.html",
        )

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        dataset = self._open(download=False)
        return dataset.data, np.asarray(dataset.targets)

    def identity(self) -> dict:
        return {"split": self.split, "files": stamp(*sorted((self.folder / "cifar-10-batches-py").glob("*_batch*")))}

    def _open(self, download: bool):
        from torchvision.datasets import CIFAR10

        return CIFAR10(str(self.folder), train=self.split == "train", download=download)
