"""Data for translation: images, and inputs that they are made from."""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from PIL import Image

from sparring.config.errors import UserError
from sparring.data.array_files import ArrayFile
from sparring.data.image_folder import ImageFolder
from sparring.data.image_io import read
from sparring.data.source import Example, Source

Bad = Literal["error", "skip"]


class Named(ArrayFile):
    """One of several arrays of images in a .npz; ``option`` is the key of the configuration that names it."""

    def __init__(self, path: Path, image_size: int | None, channels: int | None, key: str, option: str):
        self.option = option
        super().__init__(str(path), image_size, channels, key, labels_key="none")


class ByStem(ImageFolder):
    """The images below a folder, in the order of their names without their endings."""

    def __init__(self, path: Path, image_size: int, channels: int, on_bad_image: Bad):
        super().__init__(str(path), image_size, channels, on_bad_image=on_bad_image)
        self._files.sort(key=lambda file: self.stem(file[0]))

    def stem(self, path: Path) -> str:
        # other systems write the same letters in other ways
        return unicodedata.normalize("NFC", path.relative_to(self.path).with_suffix("").as_posix())

    def stems(self) -> Counter[str]:
        return Counter(self.stem(path) for path, _ in self._files)


class Half(ByStem):
    """The left or the right half of each image below a folder."""

    def __init__(self, path: Path, image_size: int, channels: int, on_bad_image: Bad, side: Literal["left", "right"]):
        super().__init__(path, image_size, channels, on_bad_image)
        self.side = side

    def picture(self, path: Path) -> Image.Image:
        whole = read(path)
        if whole.width % 2:
            raise ValueError(f"it is {whole.width} pixels wide, which makes no two equal halves")
        middle = whole.width // 2
        return whole.crop((0, 0, middle, whole.height) if self.side == "left" else (middle, 0, *whole.size))

    def identity(self) -> dict:
        return super().identity() | {"side": self.side}


class Pairs(Source):
    """Images (the target, domain B) and the inputs they are made from (domain A), row by row; no labels.

    They lie in two folders below ``path``, and files of one name, whatever their endings, belong together; or beside each
    other in one picture, as pix2pix's own data do (Isola et al. 2017); or in two arrays of a .npz, uint8 (N, H, W[, C]).
    Both are cropped to their centre square and resized to the same size.

    Args:
        path: the folder, or the .npz.
        image_size: pixels of a side; by default 256 of files, and the images' own of arrays.
        channels: of the images, 1 or 3; by default 3 of files, and their own of arrays.
        input_channels: of the inputs; by default as many as the images have.
        inputs_name, images_name: the two folders: ``trainA``, or ``A`` where there is no such (see ``split``).
        side_by_side: each picture holds the input as its left half and the image as its right one.
        inputs_key, images_key: the arrays' names in a .npz.
        reverse: exchange the roles, so that A is made of B.
        split: ``train`` ``val`` ``test`` ...: the folders so called (side by side), or whose names start so (``trainA``).
            A folder without such is all for training. Arrays have none.
        on_bad_image: of files: ``error``, or ``skip``, which leaves a pair out if either of it can't be read.

    Raises:
        UserError: there are no such folders, files or arrays, or one lacks its partner.
    """

    def __init__(
        self,
        path: str,
        image_size: int | None = None,
        channels: int | None = None,
        input_channels: int | None = None,
        inputs_name: str = "A",
        images_name: str = "B",
        side_by_side: bool = False,
        inputs_key: str = "a",
        images_key: str = "b",
        reverse: bool = False,
        split: str = "train",
        on_bad_image: Bad = "error",
    ):
        self.path, self.split, self.on_bad_image = Path(path).expanduser(), split, on_bad_image
        if input_channels not in (None, 1, 3):
            raise ValueError(f"data.input_channels={input_channels}: must be 1 (grey) or 3 (RGB)")
        self.names = {"images": images_name, "inputs": inputs_name}
        self.keys = {"images": images_key, "inputs": inputs_key}
        if side_by_side and self._is_file:
            raise UserError(f"data.side_by_side=true: data.path={path} is no folder of pictures")
        if not self._is_file:
            image_size = 256 if image_size is None else image_size
            channels = 3 if channels is None else channels
        make = self._array if self._is_file else self._half if side_by_side else self._folder
        target, given = ("inputs", "images") if reverse else ("images", "inputs")
        self.images = make(target, image_size, channels)
        self.inputs = make(given, self.images.image_size, input_channels or self.images.channels)
        super().__init__(self.images.image_size, self.images.channels)
        if self.paired and self._is_file:
            self._check_lengths()
        elif self.paired and not side_by_side:
            self._check_names()

    @property
    def name(self) -> str:
        return self.path.stem if self._is_file else self.path.absolute().name

    def identity(self) -> dict:
        return self.images.identity()

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Example]:
        return iter(self.images)

    @property
    def _is_file(self) -> bool:
        return self.path.suffix == ".npz"

    def _array(self, side: str, image_size: int | None, channels: int | None) -> Named:
        return Named(self.path, image_size, channels, self.keys[side], f"{side}_key")

    def _folder(self, side: str, image_size: int, channels: int) -> ByStem:
        return ByStem(self._place(self.names[side]), image_size, channels, self.on_bad_image)

    def _half(self, side: str, image_size: int, channels: int) -> Half:
        half = "left" if side == "inputs" else "right"
        return Half(self._place(""), image_size, channels, self.on_bad_image, half)

    def _place(self, name: str) -> Path:
        """The folder ``trainA``, say, of ``name`` A; or A itself where the data are not split."""
        if not self.path.is_dir():
            raise UserError(f"data.path={self.path}: no such folder, and no .npz")
        wanted = [f"{self.split}{name}", *([name] if self.split == "train" else [])]
        for place in (self.path / folder for folder in wanted):
            if place.is_dir():
                return place
        held = sorted(place.name for place in self.path.iterdir() if place.is_dir())
        raise UserError(
            f"data.path={self.path}: no folder {' or '.join(wanted)} in it; it holds {', '.join(held) or 'none'}. "
            "Which are meant is said by data.inputs_name, data.images_name and data.split "
            "(and data.side_by_side=true, where input and image are the halves of one picture)"
        )

    def _check_lengths(self) -> None:
        if len(self.images) != len(self.inputs):
            raise UserError(
                f"data.path={self.path}: {len(self.inputs):,} inputs and {len(self.images):,} images; row i of the one "
                "belongs to row i of the other (where they don't belong together: data=unpaired)"
            )

    def _check_names(self) -> None:
        for here, there in ((self.inputs, self.images), (self.images, self.inputs)):
            stems = here.stems()
            if twice := [stem for stem, count in stems.items() if count > 1]:
                raise UserError(f"{here.path}: two files are called {twice[0]}; which of them belongs to the pair?")
            if lonely := sorted(stems.keys() - there.stems().keys()):
                raise UserError(
                    f"{here.path}: {len(lonely):,} of {len(here):,} images have no partner of their name in {there.path}: "
                    f"{', '.join(lonely[:3])}{' ...' if len(lonely) > 3 else ''} "
                    "(where they don't belong together: data=unpaired)"
                )


class Unpaired(Pairs):
    """Images and inputs of two domains, as many as there are of each, none belonging to any other (CycleGAN's data).

    They lie as those of Pairs do and are named alike; nothing has to match. Arrays are kept in their order.

    Args:
        aligned: input i belongs to image i after all. Nobody is told in training, but held-out ones are compared.
        options: those of ``Pairs``.
    """

    paired = False

    def __init__(
        self, path: str, image_size: int | None = None, channels: int | None = None, aligned: bool = False, **options
    ):
        super().__init__(path, image_size, channels, **options)
        self.aligned = aligned
        if aligned and len(self.images) != len(self.inputs):
            raise UserError(
                f"data.aligned=true: {len(self.inputs):,} inputs and {len(self.images):,} images can't belong together"
            )
