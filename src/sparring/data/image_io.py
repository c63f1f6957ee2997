"""Image files opened and decoded: headers first, regular files only, every failure an error that names the file."""

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import ExifTags, Image

from sparring.config.errors import UserError

# EXIF orientations, undone. Pillow's exif_transpose also rewrites the EXIF block, and fails if that is damaged.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "GIF",
    "TIFF",
)  # whatever the file's name; some of Pillow's others run a program
MOST_PIXELS = 2**26  # 8192 x 8192: one on every core fits in memory
MOST_BYTES = 2**30

warnings.filterwarnings("ignore", module=r"PIL\.")  # remarks on oddities of files that Pillow can read


class UnreadableFileError(UserError):
    """A file that is no image, is damaged, or is too large; the message names it and says why."""


@contextmanager
def decoding(path: Path, kind: str = "an image") -> Iterator[None]:
    """Turn any exception inside into an UnreadableFileError that names the file, and the ``kind`` it should be.

    Decoders raise dozens of kinds of exceptions for damaged files.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise UnreadableFileError(f"{path} can't be read as {kind} ({reason})") from error


def check_regular_file(path: Path) -> os.stat_result:
    """Return a file's status; raise ValueError if it is no regular file: a pipe or a device may never end."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    return status


def check_size(width: int, height: int) -> None:
    """Raise ValueError for an image without pixels, or with more than fit in memory."""
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"{width}x{height} are {width * height:,} pixels; wanted: 1 to {MOST_PIXELS:,}")


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image of acceptable size; only its header is read. Use it inside ``decoding``."""
    if (size := check_regular_file(path).st_size) > MOST_BYTES:
        raise ValueError(f"it holds {size / 2**30:.1f} GiB")
    with Image.open(path, formats=FORMATS) as image:
        check_size(image.width, image.height)
        yield image


def read(path: Path) -> Image.Image:
    """Decode an image file, upright. Use it inside ``decoding``."""
    with opened(path) as image:
        image.load()
        turn = UPRIGHT.get(_orientation(image))
        return image.copy() if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block; the image may be whole
        return 1
