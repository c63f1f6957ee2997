"""One image from a file or an array to the pixels that are trained on."""

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from sparring.config.errors import UserError

Turn = Image.Transpose
# EXIF orientations, undone. Pillow's exif_transpose also rewrites the EXIF block, and fails where that is damaged.
TURNS = {
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_90,
}
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # whatever the name says; of Pillow's others some run a program
MOST_PIXELS = 2**26  # 8192 x 8192: decoded on every core at once, they fit in the memory
MOST_BYTES = 2**30

warnings.filterwarnings("ignore", module=r"PIL\.")  # remarks on oddities of a file that it reads


class Unreadable(UserError):
    """A file that is no image, or is damaged or too large: the message names it and says why."""


def fit(image: Image.Image, image_size: int, channels: int, crop: int | None = None) -> np.ndarray:
    """Crop to the centre square, resize, and convert the colours: uint8 of shape (channels, image_size, image_size).

    Resizing is bilinear with antialiasing, as torchvision's ``Resize``, on which published GAN code trains.

    Args:
        image: of any mode and size; transparency is laid on white, 16-bit grey is scaled to 8.
        image_size: pixels of the result's side.
        channels: 1 for grey, 3 for RGB.
        crop: side of the centre square in pixels of the original; by default the shorter side.
    """
    side = min(crop or min(image.size), *image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (side, side):  # first, so that nothing else is done to what is cut off
        image = image.crop((left, top, left + side, top + side))
    image = on_white(in_8_bits(image)).convert("L" if channels == 1 else "RGB")
    if side != image_size:
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def is_transparent(image: Image.Image) -> bool:
    """Whether it has transparent pixels, or could have."""
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def on_white(image: Image.Image) -> Image.Image:
    """What is transparent laid on white; others as they are."""
    if not is_transparent(image):
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def in_8_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8, which Pillow would clip; others as they are."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))
    return image


@contextmanager
def decoding(path: Path, kind: str = "an image") -> Iterator[None]:
    """Whatever goes wrong inside as one error that names the file, and what it should be: damaged ones make decoders raise
    dozens of kinds.

    Raises:
        Unreadable: in place of any exception.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise Unreadable(f"{path} can't be read as {kind} ({_reason(error)})") from error


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A file's image of sane size, nothing but its header read. Call it and use it ``decoding``."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device read for ever
        raise ValueError("it is no regular file")
    if status.st_size > MOST_BYTES:
        raise ValueError(f"it holds {status.st_size / 2**30:.1f} GiB")
    with Image.open(path, formats=FORMATS) as image:
        check_size(image.width, image.height)
        yield image


def check_size(width: int, height: int) -> None:
    """Raises ValueError for an image without pixels, or more than would fit in the memory."""
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"{width}x{height} are {width * height:,} pixels; wanted: 1 to {MOST_PIXELS:,}")


def read(path: Path) -> Image.Image:
    """Decode a file, upright. Call it ``decoding``."""
    with opened(path) as image:
        image.load()
        turn = TURNS.get(_orientation(image))
        return image.copy() if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # of a damaged block, which does not cost the image
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"it is none, whatever its name: no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than the {MOST_PIXELS:,} pixels that are read"
    if isinstance(error, MemoryError):
        return "it does not fit in the memory"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(reason.split()) or type(error).__name__
