"""One image, of whatever mode and size, to the pixels that are trained on."""

import struct

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from sparring.data.image_io import read
from sparring.data.image_resizing import fit


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def stored(image, path, **options):
    image.save(path, **options)
    return read(path)


# ---- crop and size ----------------------------------------------------------------------------------------------


def test_celeba_keeps_the_centre_178_of_its_218_rows():
    pixels = noise(218, 178)
    fitted = fit(Image.fromarray(pixels), 178, 3, crop=178)
    assert fitted.dtype == np.uint8
    assert np.array_equal(fitted, pixels[20:198].transpose(2, 0, 1))


def test_crop_counts_the_pixels_of_the_original():
    pixels = noise(200, 300)
    assert np.array_equal(fit(Image.fromarray(pixels), 100, 3, crop=100), pixels[50:150, 100:200].transpose(2, 0, 1))


@pytest.mark.parametrize("crop", [None, 500])
def test_without_a_crop_or_with_too_large_a_one_the_shorter_side_is_used(crop):
    pixels = noise(20, 30)
    assert np.array_equal(fit(Image.fromarray(pixels), 20, 3, crop), pixels[:, 5:25].transpose(2, 0, 1))


@pytest.mark.parametrize("image_size", [16, 100])
def test_resizing_is_that_of_torchvision(image_size):
    image = Image.fromarray(noise(64, 64))
    assert np.array_equal(fit(image, image_size, 3), np.asarray(Resize(image_size)(image)).transpose(2, 0, 1))


def test_crop_and_resize_are_those_of_torchvision():
    image = Image.fromarray(noise(218, 178))
    published = Compose([CenterCrop(178), Resize(64)])(image)
    assert np.array_equal(fit(image, 64, 3, crop=178), np.asarray(published).transpose(2, 0, 1))


# ---- colours ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("opacity", "seen"), [(0, (255, 255, 255)), (255, (255, 0, 0)), (51, (255, 204, 204))])
def test_transparency_is_laid_on_white(opacity, seen):
    assert np.all(fit(Image.new("RGBA", (4, 4), (255, 0, 0, opacity)), 4, 3) == np.reshape(seen, (3, 1, 1)))


def test_transparent_grey_is_laid_on_white():
    assert np.all(fit(Image.new("LA", (4, 4), (0, 0)), 4, 1) == 255)


def test_a_transparent_colour_of_a_palette_is_laid_on_white(tmp_path):
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 1)
    fitted = fit(stored(palette, tmp_path / "palette.png", transparency=0), 4, 3)
    assert fitted[:, 0, 0].tolist() == [0, 0, 255]
    assert np.all(fitted[:, 1:] == 255)


def test_a_palette_is_looked_up(tmp_path):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    image = stored(palette, tmp_path / "palette.png")
    assert image.mode == "P"
    assert np.all(fit(image, 4, 3) == np.reshape([10, 20, 30], (3, 1, 1)))


def test_16_bit_grey_is_scaled_to_8(tmp_path):
    deep = (np.arange(16, dtype=np.uint16) * 4369).reshape(4, 4)  # 0 to 65535
    image = stored(Image.fromarray(deep), tmp_path / "deep.png")
    assert image.mode.startswith("I")
    assert np.array_equal(fit(image, 4, 1), (deep[None] >> 8).astype(np.uint8))
    assert fit(image, 4, 3)[:, 3, 3].tolist() == [255, 255, 255]


def test_grey_becomes_three_equal_channels():
    pixels = noise(8, 8, 1)[..., 0]
    assert np.array_equal(fit(Image.fromarray(pixels), 8, 3), np.stack([pixels] * 3))


def test_colours_become_their_luminance():
    image = Image.new("RGB", (3, 3))
    for x, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
        image.putpixel((x, 0), colour)
    fitted = fit(image, 3, 1)
    assert fitted.shape == (1, 3, 3)
    assert fitted[0, 0].tolist() == [76, 150, 29]  # 0.299 R + 0.587 G + 0.114 B


def test_a_printers_jpeg_becomes_rgb(tmp_path):
    fitted = fit(stored(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "print.jpg", quality=100), 8, 3)
    assert fitted.shape == (3, 8, 8)
    assert fitted[0].min() > 200 and fitted[1:].max() < 60  # red


# ---- upright ----------------------------------------------------------------------------------------------------

UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_an_image_is_read_as_the_camera_was_held(orientation, tmp_path):
    pixels, exif = noise(6, 9), Image.Exif()
    exif[0x112] = orientation
    read_back = stored(Image.fromarray(pixels), tmp_path / "photo.png", exif=exif)
    assert np.array_equal(np.asarray(read_back), UPRIGHT[orientation](pixels))


def test_a_damaged_exif_entry_does_not_cost_the_image(tmp_path):
    entries = [
        (0x112, 3, 1, struct.pack("<HH", 6, 0)),
        (0x128, 2, 4, b"ab\0\0"),
    ]  # upright by a turn; a unit that is text
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + b"".join(struct.pack("<HHI", *e[:3]) + e[3] for e in entries)
    image = stored(Image.new("RGB", (9, 6)), tmp_path / "photo.jpg", exif=exif + bytes(4))
    assert image.size == (6, 9)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp"])
def test_lossless_formats_come_back_pixel_for_pixel(suffix, tmp_path):
    pixels = noise(8, 8)
    options = {"lossless": True} if suffix == "webp" else {}
    assert np.array_equal(np.asarray(stored(Image.fromarray(pixels), tmp_path / f"a.{suffix}", **options)), pixels)
