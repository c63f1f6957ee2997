"""Published data sets: fetched by torchvision where it can, or placed by hand."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from sparring.config.errors import UserError
from sparring.data import idx_files
from sparring.data.source import Arrays, Files, Listing, stamp
from sparring.storage.files import check_free_space

Split = Literal["train", "test"]
AGAIN = "Remove it: it is then downloaded again."


def obtain(
    name: str,
    folder: Path,
    expected: str,
    where: str,
    attempt: Callable[[], object],
    advice: str = "",
    fetches: bool = True,
) -> None:
    """Run a download and turn any of its many failures into one message that says how to do it by hand."""
    try:
        if not fetches:
            raise ValueError("of a stored run's data nothing is written outside the cache folder")
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
        if not all(file.is_file() for file in self._files()):
            obtain(
                self.dataset,
                self.path / self.dataset / "raw",
                f"the four files {stem}",
                self.where,
                self._download,
                fetches=self.fetches,
            )

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Raises UserError if the files are not what was published."""
        (images, labels), found = self._files(), []
        for file, ndim in ((images, 3), (labels, 1)):
            try:
                found.append(idx_files.read(file, ndim))
            except (OSError, ValueError) as error:
                raise UserError(f"{file} can't be read as an IDX file ({error}). {AGAIN}") from error
        if len(found[0]) != len(found[1]):
            raise UserError(f"{images} and {labels}: {len(found[0]):,} images and {len(found[1]):,} labels. {AGAIN}")
        if (highest := found[1].max()) >= self.num_classes:
            raise UserError(f"{labels}: its labels go up to {highest}, those of {self.dataset} to 9. {AGAIN}")
        return found[0], found[1].astype(np.int64)

    def identity(self) -> dict:
        return {"split": self.split, "files": stamp(*sorted((self.path / self.dataset / "raw").glob("*-ubyte")))}

    def _download(self) -> None:
        import torchvision

        getattr(torchvision.datasets, self.dataset)(str(self.path), download=True)

    def _files(self) -> tuple[Path, Path]:
        """Of images and of labels."""
        stem = self.path / self.dataset / "raw" / ("train" if self.split == "train" else "t10k")
        return Path(f"{stem}-images-idx3-ubyte"), Path(f"{stem}-labels-idx1-ubyte")


class FashionMNIST(MNIST):
    """60,000 training or 10,000 test images of clothes, 28x28 grey (Xiao et al. 2017). IDX in ``FashionMNIST/raw``."""

    dataset = "FashionMNIST"
    where = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/ (the .gz files will do)"
    labels = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


class CIFAR10(Arrays):
    """50,000 training or 10,000 test images of ten classes, 32x32 RGB (Krizhevsky 2009).

    Args:
        path: root folder; the pickles lie in ``cifar-10-batches-py`` below it. torchvision opens those alone whose MD5 is
            that of the published ones.
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
            lambda: self._open(download=self.fetches),
            fetches=self.fetches or (self.path / "cifar-10-batches-py").is_dir(),
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
                self.fetches,
            )
        self._files = self._listed()

    def files(self) -> Listing:
        return self._files

    def _listed(self) -> Listing:
        """The images of the split. Raises UserError if one, its attribute's value, or the attribute is missing."""
        images = self.folder / "img_align_celeba"
        images = images / images.name if (images / images.name).is_dir() else images  # Kaggle's archive nests it
        parts = {name: values[0] for name, values in self._table("list_eval_partition", 1).items()}
        wanted = {"train": 0, "valid": 1, "test": 2}.get(self.split)
        names = [name for name, part in parts.items() if wanted is None or part == wanted]
        if not names:
            raise UserError(f"{self._list('list_eval_partition')} names no image of data.split={self.split}")
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
        if self.fetches and archive.is_file() and not (self.folder / "img_align_celeba").is_dir():
            try:
                with zipfile.ZipFile(archive) as content:
                    size = sum(member.file_size for member in content.infolist())
                    check_free_space(self.folder, size, "the unpacked images", "make room there")
                    content.extractall(self.folder)  # zipfile lets no name lead out of it
            except UserError:
                raise
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

    def _rows(self, name: str) -> list[list[str]]:
        """The rows of a list, the .txt's layout or Kaggle's .csv."""
        try:
            return [line.replace(",", " ").split() for line in self._list(name).read_text("utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise UserError(f"{self._list(name)} can't be read ({error})") from error

    def _table(self, name: str, columns: int) -> dict[str, list[int]]:
        """The numbers of a list by image name, so many each."""
        table = {}
        for row in self._rows(name):
            if row and row[0].endswith(".jpg"):
                try:
                    table[row[0]] = [int(value) for value in row[1:]]
                    assert len(row) == 1 + columns
                except (ValueError, AssertionError) as error:
                    raise UserError(
                        f"{self._list(name)}: {' '.join(row[:8])[:80]} is no name and {columns} numbers. Fetch it again."
                    ) from error
        return table

    def _labels(self) -> dict[str, int]:
        header = next((row for row in self._rows("list_attr_celeba") if len(row) > 1), [])
        attributes = [name for name in header if name != "image_id"]
        if self.attribute not in attributes:
            raise UserError(
                f"data.attribute={self.attribute}: {self._list('list_attr_celeba')} has no such; must be one of "
                f"{', '.join(attributes) or 'none'}"
            )
        column = attributes.index(self.attribute)
        table = self._table("list_attr_celeba", len(attributes))
        return {name: int(values[column] > 0) for name, values in table.items()}
