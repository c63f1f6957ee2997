"""One image from a file or an array to the pixels that are trained on."""

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

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


def fit(image: Image.Image, image_size: int, channels: int, crop: int | None = None) -> np.ndarray:
    """Crop to the centre square, resize, and convert the colours: uint8 of shape (channels, image_size, image_size).

    Resizing is bilinear with antialiasing, as torchvision's ``Resize``, on which published GAN code trains.

    Args:
        image: of any mode and size; transparency is laid on white, 16-bit grey is scaled to 8.
        image_size: pixels of the result's side.
        channels: 1 for grey, 3 for RGB.
        crop: side of the centre square in pixels of the original; by default the shorter side.
    """
    image = on_white(in_8_bits(image))
    image = image.convert("L" if channels == 1 else "RGB")
    side = min(crop or min(image.size), *image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    image = image.crop(box)
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
        return Image.fromarray((np.asarray(image, dtype=np.int64).clip(0, 65535) // 256).astype(np.uint8))
    return image


def read(path: Path) -> Image.Image:
    """Decode a file, upright.

    Raises:
        OSError, SyntaxError, ValueError, EOFError: the file is not an image or is damaged.
    """
    with Image.open(path) as image:
        image.load()
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
        return image.copy() if turn is None else image.transpose(turn)
