"""CelebA: faces and their attributes, downloaded from Google Drive, or placed by hand."""

import zipfile
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from sparring.config.errors import UserError
from sparring.config.extras import import_extra
from sparring.data.downloads import download
from sparring.data.source import Channels, Crop, Files, OnBadImage
from sparring.storage.files import check_free_space

PARTS = {"train": 0, "valid": 1, "test": 2}  # as the list of the splits numbers them


class CelebA(Files):
    """202,599 faces, 178x218 RGB (Liu et al. 2015, aligned and cropped), cropped to the centre 178x178.

    CelebA has attributes, not classes: it is unlabelled unless one attribute is chosen.

    Args:
        path: root folder; the files are in ``celeba`` below it, as torchvision keeps them, or in it.
        split: ``train`` (162,770), ``valid`` (19,867), ``test`` (19,962) or ``all``.
        attribute: an attribute such as ``Smiling`` as the label: 0 absent, 1 present.
        crop: side of the centre square, in pixels.
    """

    def __init__(
        self,
        path: str,
        image_size: PositiveInt = 64,
        channels: Channels = 3,
        split: Literal["train", "valid", "test", "all"] = "train",
        attribute: str | None = None,
        crop: Crop = 178,
        on_bad_image: OnBadImage = "error",
    ):
        names = (f"not {attribute}", attribute) if attribute else ()
        super().__init__(Path(path).expanduser(), [], image_size, channels, names, crop, on_bad_image)
        self.split, self.attribute = split, attribute
        self.lists = ["list_eval_partition", "list_attr_celeba"][: 2 if attribute else 1]

    @property
    def name(self) -> str:
        return "celeba"

    @property
    def folder(self) -> Path:
        return self.path if list(self.path.glob("img_align_celeba*")) else self.path / "celeba"

    def prepare(self) -> None:
        self._unpack()
        if self._missing():
            lists = ", ".join(f"{name}.txt" for name in self.lists)
            download(
                "CelebA",
                self.folder,
                fetch=self._download,
                allowed=self.fetches,
                expected=f"img_align_celeba.zip (or the folder img_align_celeba/ with the .jpg files), {lists}",
                where="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (Kaggle's .csv lists will do, too)",
                advice=" Google Drive often refuses: others have used up its daily quota.",
            )
        images = self.folder / "img_align_celeba"
        images = images / images.name if (images / images.name).is_dir() else images  # Kaggle's archive nests it
        labels = self._labels()
        present = {path.name for path in images.iterdir()}
        if missing := [name for name in labels if name not in present]:
            raise UserError(
                f"{images} lacks {len(missing):,} of {len(labels):,} images of data.split={self.split}, "
                f"the first of them {missing[0]}. Unpack img_align_celeba.zip again."
            )
        self.files = [(str(images / name), label) for name, label in labels.items()]

    def _labels(self) -> dict[str, int]:
        """Return the label of each image of the split: whether it has the attribute, or -1."""
        parts = self._column("list_eval_partition", 0)
        names = [name for name, part in parts.items() if self.split == "all" or part == PARTS[self.split]]
        if not names:
            raise UserError(f"{self._find('list_eval_partition')} names no image of data.split={self.split}")
        if not self.attribute:
            return dict.fromkeys(names, -1)
        header = next((row for row in self._rows("list_attr_celeba") if len(row) > 1), [])
        attributes = [name for name in header if name != "image_id"]
        file = self._find("list_attr_celeba")
        if self.attribute not in attributes:
            choices = ", ".join(attributes) or "none"
            raise UserError(f"data.attribute={self.attribute}: {file} has no such attribute; must be one of {choices}")
        values = self._column("list_attr_celeba", attributes.index(self.attribute))
        if unknown := [name for name in names if name not in values]:
            raise UserError(f"{file} lacks {unknown[0]} of data.split={self.split}")
        return {name: int(values[name] > 0) for name in names}

    def _unpack(self) -> None:
        archive = self.folder / "img_align_celeba.zip"
        if not (self.fetches and archive.is_file()) or (self.folder / "img_align_celeba").is_dir():
            return
        try:
            with zipfile.ZipFile(archive) as content:
                size = sum(member.file_size for member in content.infolist())
                check_free_space(self.folder, size, "the unpacked images", "make room there")
                content.extractall(self.folder)  # zipfile lets no name lead out of it
        except UserError:
            raise
        except Exception as error:  # from zipfile, zlib, the system
            raise UserError(f"{archive} can't be unpacked ({error}). Fetch it again.") from error

    def _missing(self) -> set[str]:
        """Return the names of the files to download."""
        missing = {f"{name}.txt" for name in self.lists if not self._find(name).is_file()}
        return missing if (self.folder / "img_align_celeba").is_dir() else missing | {"img_align_celeba.zip"}

    def _download(self) -> None:
        from torchvision.datasets import CelebA
        from torchvision.datasets.utils import download_file_from_google_drive

        import_extra("gdown", "celeba", "data=celeba")
        missing, folder = self._missing(), str(self.folder)
        for identifier, md5, name in CelebA.file_list:
            if name in missing:
                download_file_from_google_drive(identifier, folder, name, md5)
        self._unpack()

    def _find(self, name: str) -> Path:
        """Return the file of a list: Kaggle's .csv if there is one without the authors' .txt."""
        file = self.folder / f"{name}.txt"
        return file.with_suffix(".csv") if not file.is_file() and file.with_suffix(".csv").is_file() else file

    def _rows(self, name: str) -> list[list[str]]:
        file = self._find(name)
        try:
            return [line.replace(",", " ").split() for line in file.read_text("utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise UserError(f"{file} can't be read ({error})") from error

    def _column(self, name: str, column: int) -> dict[str, int]:
        """Return the numbers in a column of a list by image."""
        rows = [row for row in self._rows(name) if row and row[0].endswith(".jpg")]
        try:
            return {row[0]: int(row[1 + column]) for row in rows}
        except (IndexError, ValueError) as error:
            raise UserError(f"{self._find(name)} lacks a number ({error}). Fetch it again.") from error
