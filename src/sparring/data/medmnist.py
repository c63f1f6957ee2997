"""MedMNIST: small medical images of twelve kinds, each in one .npz."""

import csv
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from sparring.config.errors import UserError
from sparring.data.array_file import check_images
from sparring.data.downloads import DOWNLOAD_AGAIN, download
from sparring.data.npz import ArraysIn
from sparring.data.source import Arrays, Channels, stamp
from sparring.storage.files import atomic_write

RECORD = "https://zenodo.org/records/10519652"
SIZES = (28, 64, 128, 224)  # pixels of a side; each is a file of its own
with open(Path(__file__).with_suffix(".csv"), newline="") as table:  # from medmnist 3.0.2
    SETS = {row["name"]: row for row in csv.DictReader(table)}


class MedMNIST(Arrays):
    """One of the twelve 2-D sets of MedMNIST v2 (Yang et al. 2023), 28x28, or larger in its later release, MedMNIST+.

    The file is the smallest published one (28, 64, 128, 224 pixels) of at least ``image_size``; images are resized if
    their size differs. ChestMNIST names up to fourteen findings an image: here it is unlabelled.

    Args:
        of: which set: ``pathmnist``, ``bloodmnist`` ...
        path: the folder of ``pathmnist.npz``, ``pathmnist_64.npz`` ..., to which missing ones are downloaded.
        channels: 1 or 3; None for the set's own.
    """

    def __init__(
        self,
        of: str = "pathmnist",
        path: str = ".",
        split: Literal["train", "val", "test"] = "train",
        image_size: PositiveInt = 28,
        channels: Channels | None = None,
    ):
        if of not in SETS:
            raise ValueError(f"data.of={of}: must be one of {', '.join(SETS)}")
        facts = SETS[of]
        names = facts["classes"].split("; ") if facts["classes"] else ()
        super().__init__(image_size, channels or int(facts["channels"]), names)
        size = next((size for size in SIZES if size >= image_size), SIZES[-1])
        self.of, self.split, self.md5 = of, split, facts[f"md5_{size}"]
        self.file = Path(path).expanduser() / (f"{of}.npz" if size == SIZES[0] else f"{of}_{size}.npz")

    @property
    def name(self) -> str:
        return self.of

    def prepare(self) -> None:
        if not self.file.is_file():
            download(
                "MedMNIST",
                self.file.parent,
                fetch=self._download,
                allowed=self.fetches,
                expected=self.file.name,
                where=f"{RECORD}/files/{self.file.name}",
            )

    def identity(self) -> dict:
        return {"split": self.split, "file": stamp(self.file)}

    def load(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return images and labels; raise UserError if the file is not the published one."""
        try:
            content = ArraysIn(self.file)
            check_images(content, f"{self.split}_images")
            images, labels = (content.read(f"{self.split}_{kind}") for kind in ("images", "labels"))
        except ValueError as error:
            raise UserError(f"{self.file} can't be read as a file of MedMNIST ({error}). {DOWNLOAD_AGAIN}") from error
        if not self.class_names:
            return images, None
        valid = labels.shape == (len(images), 1) and np.issubdtype(labels.dtype, np.integer)
        if not valid or labels.min() < 0 or labels.max() >= self.num_classes:
            raise UserError(f"{self.file}: its labels are not those of data.of={self.of}, 0 to {self.num_classes - 1}")
        return images, labels[:, 0].astype(np.int64)

    def _download(self) -> None:
        from torchvision.datasets.utils import download_url

        url = f"{RECORD}/files/{self.file.name}?download=1"
        with atomic_write(self.file) as partial:  # a part of a download is never taken for the file
            download_url(url, str(partial.parent), partial.name, self.md5)
