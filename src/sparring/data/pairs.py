"""Data for translation: images (domain B), and the inputs that they are made from (domain A)."""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from pydantic import PositiveInt

from sparring.config.errors import UserError
from sparring.data.array_file import ArrayFile
from sparring.data.image_folder import ImageFolder
from sparring.data.image_io import read
from sparring.data.source import Channels, Example, OnBadImage, Source

UNPAIRED = "(data=unpaired if they don't belong together)"


class Named(ArrayFile):
    """One of several arrays of images in a .npz; ``images_option`` is the configuration's key that names it."""

    def __init__(self, path: Path, image_size: int | None, channels: Channels | None, key: str, option: str):
        self.images_option = option
        super().__init__(str(path), image_size, channels, key, labels_key="none")


class ByStem(ImageFolder):
    """The images below a folder, in the order of their names without suffixes."""

    def __init__(self, path: Path, image_size: int, channels: Channels, on_bad_image: OnBadImage):
        super().__init__(str(path), image_size, channels, on_bad_image=on_bad_image)
        self.files = sorted(self.files, key=lambda file: self.stem(file[0]))

    def stem(self, path: str) -> str:
        # systems differ in how they compose the same letters
        return unicodedata.normalize("NFC", Path(path).relative_to(self.path).with_suffix("").as_posix())

    def stems(self) -> Counter[str]:
        return Counter(self.stem(path) for path, _ in self.files)


class Half(ByStem):
    """The left or the right half of each image below a folder."""

    def __init__(self, path: Path, image_size: int, channels: Channels, on_bad_image: OnBadImage, side: str):
        super().__init__(path, image_size, channels, on_bad_image)
        self.side = side

    def open_image(self, path: Path) -> Image.Image:
        whole = read(path)
        if whole.width % 2:
            raise ValueError(f"it is {whole.width} pixels wide, which makes no two equal halves")
        middle = whole.width // 2
        return whole.crop((0, 0, middle, whole.height) if self.side == "left" else (middle, 0, *whole.size))

    def identity(self) -> dict:
        return super().identity() | {"side": self.side}


class Pairs(Source):
    """Images (the target, domain B) and the inputs they are made from (domain A), row by row; no labels.

    They are in two folders below ``path``, where files of one name (without suffix) belong together; or halves of one
    picture, as in pix2pix's data (Isola et al. 2017); or two arrays of a .npz, uint8 (N, H, W[, C]). Both are cropped
    to their centre square and resized to the same size.

    Args:
        path: the folder, or the .npz.
        image_size: pixels of a side; None for 256 (files) or the images' own (arrays).
        channels: of the images, 1 or 3; None for 3 (files) or their own (arrays).
        input_channels: of the inputs, 1 or 3; None for as many as the images have.
        inputs_name: the inputs' folder: ``trainA``, or ``A`` if that is missing (see ``split``).
        images_name: the images' folder, likewise.
        side_by_side: each picture holds the input as its left half and the image as its right half.
        inputs_key: name of the inputs' array in a .npz.
        images_key: name of the images' array in a .npz.
        reverse: exchange the roles, so that A is made from B.
        split: ``train``, ``val``, ``test`` ...: prefix of the folders' names (``trainA``); side by side, the folder. A
            folder without splits is for training. Arrays have none.
        on_bad_image: of files: ``error``, or ``skip``, which leaves out a pair if either file can't be read.

    Raises:
        UserError: folders, files, arrays or partners are missing.
    """

    inputs: Source

    def __init__(
        self,
        path: str,
        image_size: PositiveInt | None = None,
        channels: Channels | None = None,
        input_channels: Channels | None = None,
        inputs_name: str = "A",
        images_name: str = "B",
        side_by_side: bool = False,
        inputs_key: str = "a",
        images_key: str = "b",
        reverse: bool = False,
        split: str = "train",
        on_bad_image: OnBadImage = "error",
    ):
        self.path, self.split = Path(path).expanduser(), split
        is_file = self.path.suffix == ".npz"
        if input_channels not in (None, 1, 3):
            raise ValueError(f"data.input_channels={input_channels}: must be 1 (grey) or 3 (RGB)")
        if side_by_side and is_file:
            raise UserError(f"data.side_by_side=true: data.path={path} is no folder of pictures")

        def open_domain(domain: str, size: int | None, channels: Channels | None) -> Named | ByStem:
            key, option, name, side = inputs_key, "inputs_key", inputs_name, "left"
            if domain == "B":
                key, option, name, side = images_key, "images_key", images_name, "right"
            if is_file:
                return Named(self.path, size, channels, key, option)
            size, channels = size or 256, channels or 3
            if side_by_side:
                return Half(self._folder(""), size, channels, on_bad_image, side)
            return ByStem(self._folder(name), size, channels, on_bad_image)

        self.images = images = open_domain("A" if reverse else "B", image_size, channels)
        super().__init__(images.image_size, images.channels)
        input_channels = input_channels or (1 if images.channels == 1 else 3)
        self.inputs = inputs = open_domain("B" if reverse else "A", images.image_size, input_channels)
        if is_file and len(images) != len(inputs) and self.paired:
            raise UserError(
                f"data.path={self.path}: {len(inputs):,} inputs and {len(images):,} images; row i of one belongs "
                f"to row i of the other {UNPAIRED}"
            )
        if isinstance(images, ByStem) and isinstance(inputs, ByStem) and self.paired and not side_by_side:
            self._check_names(inputs, images)
            self._check_names(images, inputs)

    @property
    def name(self) -> str:
        return self.images.name if isinstance(self.images, Named) else self.path.absolute().name

    def identity(self) -> dict:
        return self.images.identity()

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Example]:
        return iter(self.images)

    def _folder(self, name: str) -> Path:
        """Return the folder of a split, ``trainA`` for ``name`` A; or A itself if the data are not split."""
        if not self.path.is_dir():
            raise UserError(f"data.path={self.path}: no such folder, and no .npz")
        wanted = [f"{self.split}{name}", *([name] if self.split == "train" else [])]
        for folder in (self.path / each for each in wanted):
            if folder.is_dir():
                return folder
        held = sorted(folder.name for folder in self.path.iterdir() if folder.is_dir())
        raise UserError(
            f"data.path={self.path}: no folder {' or '.join(wanted)} in it; it holds {', '.join(held) or 'none'}. "
            "Name the folders with data.inputs_name, data.images_name and data.split "
            "(and data.side_by_side=true if input and image are the halves of one picture)"
        )

    @staticmethod
    def _check_names(these: ByStem, others: ByStem) -> None:
        """Raise UserError if two files share a name, or one has no partner of its name."""
        stems = these.stems()
        if twice := [stem for stem, count in stems.items() if count > 1]:
            raise UserError(f"{these.path}: two files are called {twice[0]}; which of them belongs to the pair?")
        if lonely := sorted(stems.keys() - others.stems().keys()):
            raise UserError(
                f"{these.path}: {len(lonely):,} of {len(these):,} images have no partner of their name in "
                f"{others.path}: {', '.join(lonely[:3])}{' ...' if len(lonely) > 3 else ''} {UNPAIRED}"
            )


class Unpaired(Pairs):
    """Images and inputs of two domains, any number of each, none belonging to any other (CycleGAN's data).

    Folders and arrays are named as those of ``Pairs``; nothing has to match. Arrays keep their order.

    Args:
        aligned: input i belongs to image i after all: training does not use it, but held-out ones are compared.
        options: those of ``Pairs``.
    """

    paired = False

    def __init__(
        self,
        path: str,
        image_size: PositiveInt | None = None,
        channels: Channels | None = None,
        aligned: bool = False,
        **options,
    ):
        super().__init__(path, image_size, channels, **options)
        self.aligned = aligned
        images, inputs = len(self.images), len(self.inputs)
        if aligned and images != inputs:
            raise UserError(f"data.aligned=true: {inputs:,} inputs and {images:,} images can't belong together")
