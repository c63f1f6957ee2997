"""Images cropped, resized and converted to the pixels that networks train on."""

import numpy as np
from PIL import Image


def fit(image: Image.Image, image_size: int, channels: int, crop: int | None = None) -> np.ndarray:
    """Crop to the centre square, resize, and convert the colours.

    Resizing is bilinear with antialiasing, as in torchvision's ``Resize``, on which published GAN code trains.

    Args:
        image: of any mode and size; transparency becomes white, 16-bit grey is scaled to 8.
        image_size: pixels of the result's side.
        channels: 1 for grey, 3 for RGB.
        crop: side of the centre square in pixels of the original; None for the shorter side.

    Returns:
        uint8 (channels, image_size, image_size).
    """
    side = min(crop or min(image.size), *image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (side, side):  # first, so that the rest is not computed for what is cut off
        image = image.crop((left, top, left + side, top + side))
    image = on_white(in_8_bits(image)).convert("L" if channels == 1 else "RGB")
    if side != image_size:
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def fit_array(array: np.ndarray, image_size: int, channels: int) -> np.ndarray:
    """Crop, resize and convert an image (H, W) or (H, W, C) uint8 to (channels, image_size, image_size)."""
    array = array.squeeze(-1) if array.ndim == 3 and array.shape[-1] == 1 else array
    return fit(Image.fromarray(np.ascontiguousarray(array)), image_size, channels)


def resize_depth(volume: np.ndarray, depth: int) -> np.ndarray:
    """Resize slices (D, H, W) uint8 to (depth, H, W): bilinear with antialiasing, as each slice is resized."""
    if len(volume) == depth:
        return volume
    flat = Image.fromarray(volume.reshape(len(volume), -1))
    return np.asarray(flat.resize((flat.width, depth), Image.Resampling.BILINEAR)).reshape(depth, *volume.shape[1:])


def is_transparent(image: Image.Image) -> bool:
    """Whether an image has transparent pixels, or could have."""
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def on_white(image: Image.Image) -> Image.Image:
    """Lay what is transparent on white; return other images as they are."""
    if not is_transparent(image):
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def in_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey, which Pillow would clip, to 8 bits; return other images as they are."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))
    return image
