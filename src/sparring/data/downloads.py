"""Published data sets: fetched by torchvision where it can, or placed by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from sparring.data.source import Arrays, Files, Listing, stamp
from sparring.errors import UserError

Split = Literal["train", "test"]


def obtain(name: str, folder: Path, expected: str, where: str, attempt: Callable[[], object], advice: str = "") -> None:
    """Run a download and turn any of its many failures into one message that says how to do it by hand."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        attempt()
    except (Exception, SystemExit) as error:  # urllib, gdown, zipfile, torchvision's RuntimeError ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name} could not be downloaded ({reason}).\n"
            f"Place it by hand in  {folder.absolute()}\n"
            f"       expected:     {expected}\n"
            f"       from:         {where}\n"
            f"and start again, or name another folder with data.path=DIR.{advice}"
        ) from error


class MNIST(Arrays):
    """60,000 training or 10,000 test images of digits, 28x28 grey (LeCun et al. 1998).

    Args:
        path: root folder; the IDX files lie in ``MNIST/raw`` below it.
        split: which of the two sets.
    """

    dataset = "MNIST"
    where = "https://ossci-datasets.s3.amazonaws.com/mnist/ (the .gz files will do)"
    labels = [str(digit) for digit in range(10)]

    def __init__(self, path: str, image_size: int = 28, channels: int = 1, split: Split = "train"):
        super().__init__(image_size, channels, self.labels)
        self.path = Path(path).expanduser()
        self.split = split

    def prepare(self) -> None:
        stem = "{train,t10k}-{images-idx3,labels-idx1}-ubyte"
        obtain(
            self.dataset,
            self.path / self.dataset / "raw",
            f"the four files {stem}",
            self.where,
            lambda: self._open(download=True),
        )

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        opened = self._open(download=False)
        return opened.data.numpy(), opened.targets.numpy()

    def identity(self) -> dict:
        return {"split": self.split, "files": stamp(*sorted((self.path / self.dataset / "raw").glob("*-ubyte")))}

    def _open(self, download: bool):
        import torchvision

        kind = getattr(torchvision.datasets, self.dataset)
        return kind(str(self.path), train=self.split == "train", download=download)


class FashionMNIST(MNIST):
    """60,000 training or 10,000 test images of clothes, 28x28 grey (Xiao et al. 2017). IDX in ``FashionMNIST/raw``."""

    dataset = "FashionMNIST"
    where = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/ (the .gz files will do)"
    labels = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


class CIFAR10(Arrays):
    """50,000 training or 10,000 test images of ten classes, 32x32 RGB (Krizhevsky 2009).

    Args:
        path: root folder; the pickles lie in ``cifar-10-batches-py`` below it.
        split: which of the two sets.
    """

    labels = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

    def __init__(self, path: str, image_size: int = 32, channels: int = 3, split: Split = "train"):
        super().__init__(image_size, channels, self.labels)
        self.path = Path(path).expanduser()
        self.split = split

    def prepare(self) -> None:
        obtain(
            "CIFAR-10",
            self.path,
            "cifar-10-python.tar.gz, or its content cifar-10-batches-py/",
            "https://www.cs.toronto.edu/~kriz/cifar.html",
            lambda: self._open(download=True),
        )

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        opened = self._open(download=False)
        return opened.data, np.asarray(opened.targets)

    def identity(self) -> dict:
        return {"split": self.split, "files": stamp(*sorted((self.path / "cifar-10-batches-py").glob("*_batch*")))}

    def _open(self, download: bool):
        from torchvision.datasets import CIFAR10

        return CIFAR10(str(self.path), train=self.split == "train", download=download)


class CelebA(Files):
    """202,599 faces, 178x218 RGB (Liu et al. 2015, aligned and cropped), of which the centre 178x178 is kept.

    CelebA has attributes, not classes: it is unlabelled unless one attribute is chosen.

    Args:
        path: root folder; the files lie in ``celeba`` below it, as torchvision keeps them, or in it.
        split: ``train`` (162,770), ``valid`` (19,867), ``test`` (19,962) or ``all``.
        attribute: an attribute such as ``Smiling`` as the label: 0 absent, 1 present.
        crop: side of the centre square that is kept, in pixels.
        on_bad_image: ``error`` or ``skip``.
    """

    expected = "img_align_celeba.zip (or the folder img_align_celeba/ with the .jpg files), list_eval_partition.txt"

    def __init__(
        self,
        path: str,
        image_size: int = 64,
        channels: int = 3,
        split: Literal["train", "valid", "test", "all"] = "train",
        attribute: str | None = None,
        crop: int = 178,
        on_bad_image: Literal["error", "skip"] = "error",
    ):
        names = (f"not {attribute}", attribute) if attribute else ()
        super().__init__(image_size, channels, names, crop, on_bad_image)
        self.path = Path(path).expanduser()
        self.split = split
        self.attribute = attribute

    @property
    def folder(self) -> Path:
        return self.path if list(self.path.glob("img_align_celeba*")) else self.path / "celeba"

    def prepare(self) -> None:
        if not self._is_placed():
            obtain(
                "CelebA",
                self.folder,
                self.expected + (", list_attr_celeba.txt" if self.attribute else ""),
                "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (Kaggle's .csv lists will do, too)",
                self._download,
                " Google Drive, where the files lie, often refuses: its daily quota is used up by others.",
            )
        self._files = self._listed()

    def files(self) -> Listing:
        return self._files

    def _listed(self) -> Listing:
        """The images of the split. Raises UserError if one, its attribute's value, or the attribute is missing."""
        images = self.folder / "img_align_celeba"
        images = images / images.name if (images / images.name).is_dir() else images  # Kaggle's archive nests it
        parts = {name: int(values[0]) for name, values in self._table("list_eval_partition").items()}
        wanted = {"train": 0, "valid": 1, "test": 2}.get(self.split)
        names = [name for name, part in parts.items() if wanted is None or part == wanted]
        present = {path.name for path in images.iterdir()}
        if missing := [name for name in names if name not in present]:
            raise UserError(
                f"{images} lacks {len(missing):,} of {len(names):,} images of data.split={self.split}, "
                f"the first of them {missing[0]}. Unpack img_align_celeba.zip again."
            )
        if not self.attribute:
            return Listing(images, names)
        labels = self._labels()
        if unknown := [name for name in names if name not in labels]:
            raise UserError(f"{self._list('list_attr_celeba')} lacks {unknown[0]}, which data.split={self.split} holds")
        return Listing(images, names, (labels[name] for name in names))

    def _is_placed(self) -> bool:
        archive = self.folder / "img_align_celeba.zip"
        if archive.is_file() and not (self.folder / "img_align_celeba").is_dir():
            from torchvision.datasets.utils import extract_archive

            try:
                extract_archive(str(archive), str(self.folder))
            except Exception as error:  # zipfile's, zlib's, the system's
                raise UserError(f"{archive} can't be unpacked ({error}). Fetch it again.") from error
        return (self.folder / "img_align_celeba").is_dir() and all(self._list(name) for name in self._lists())

    def _lists(self) -> list[str]:
        return ["list_eval_partition"] + (["list_attr_celeba"] if self.attribute else [])

    def _download(self) -> None:
        from torchvision.datasets import CelebA
        from torchvision.datasets.utils import download_file_from_google_drive

        missing = {f"{name}.txt" for name in self._lists() if not self._list(name)}
        if not (self.folder / "img_align_celeba").is_dir():
            missing.add("img_align_celeba.zip")
        for identifier, md5, name in CelebA.file_list:
            if name in missing:
                download_file_from_google_drive(identifier, str(self.folder), name, md5)
        self._is_placed()

    def _list(self, name: str) -> Path | None:
        return next((path for end in (".txt", ".csv") if (path := self.folder / (name + end)).is_file()), None)

    def _table(self, name: str) -> dict[str, list[str]]:
        """The rows of a list by image name, the .txt's layout or Kaggle's .csv."""
        rows = [line.replace(",", " ").split() for line in self._list(name).read_text().splitlines()]
        return {row[0]: row[1:] for row in rows if row and row[0].endswith(".jpg")}

    def _labels(self) -> dict[str, int]:
        path = self._list("list_attr_celeba")
        header = next(row for line in path.read_text().splitlines() if len(row := line.replace(",", " ").split()) > 1)
        attributes = [name for name in header if name != "image_id"]
        if self.attribute not in attributes:
            raise UserError(f"data.attribute={self.attribute}: must be one of {', '.join(attributes)}")
        column = attributes.index(self.attribute)
        return {name: int(int(values[column]) > 0) for name, values in self._table("list_attr_celeba").items()}
