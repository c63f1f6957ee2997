"""What JPEG loses, computed on the images' device without a file (ITU-T T.81; libjpeg).

Not torchvision's encode_jpeg and decode_jpeg: they code images one by one, on the CPU or with other results on a GPU,
and wait for the device in every training step. Tests compare this file with libjpeg.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from sparring.data.degradations.base import Degradation, bounds
from sparring.randomness import Draws

Quality = Annotated[int, Field(ge=1, le=100)]

# Quantisation steps at quality 50 (ITU-T T.81, annex K, tables K.1 and K.2); those of chrominance are 99 elsewhere.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))


class JPEG(Degradation):
    """JPEG of images of 1 or 3 channels: luminance and chrominance, 8x8 cosine transforms, rounding.

    As libjpeg (and so Pillow) encodes and decodes: the same tables, whole levels in between, chrominance averaged to
    half the resolution and interpolated back. The result has the levels of 8 bits. It differs from libjpeg's where
    libjpeg's integer transforms round otherwise.

    Args:
        quality: 1 to 100, or [low, high]: a whole number drawn per image.
        subsampling: chrominance at half the resolution (4:2:0), Pillow's default; else at the full one (4:4:4).
    """

    tables: Tensor

    def __init__(self, quality: Quality | tuple[Quality, Quality] = 20, subsampling: bool = True):
        super().__init__()
        self.quality = bounds("quality", quality)
        self.subsampling = subsampling
        chrominance = pad(torch.tensor(CHROMINANCE_CORNER), (0, 4, 0, 4), value=99)
        self.register_buffer("tables", torch.stack([torch.tensor(LUMINANCE), chrominance]), persistent=False)

    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, None]:
        channels, height, width = images.shape[1:]
        if channels not in (1, 3):
            raise ValueError(f"JPEG is for images of 1 or 3 channels; these have {channels}")
        low, high = self.quality
        quality = low + (draws.uniform("degradation jpeg").to(images.device) * (high - low + 1)).long()
        tables = scale_tables(self.tables.to(images.device), quality).to(images.dtype)  # (batch, 2, 8, 8)
        levels = ((images + 1) * 127.5).round()
        if channels == 1:
            return quantize(levels, tables[:, :1]) / 127.5 - 1, None
        planes = rgb_to_ycbcr(levels)
        colors = planes[:, 1:]
        if self.subsampling:
            colors = quantize(halve(colors), tables[:, 1:])[:, :, : (height + 1) // 2, : (width + 1) // 2]
            colors = interpolate(colors, scale_factor=2, mode="bilinear").round()[:, :, :height, :width]
        else:
            colors = quantize(colors, tables[:, 1:])
        return ycbcr_to_rgb(torch.cat([quantize(planes[:, :1], tables[:, :1]), colors], 1)) / 127.5 - 1, None


def scale_tables(tables: Tensor, quality: Tensor) -> Tensor:
    """Return quantisation tables (batch, n, 8, 8) from those of quality 50, (n, 8, 8), as libjpeg scales them."""
    percent = torch.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None, None, None]
    return ((tables * percent + 50) // 100).clamp(1, 255)


def quantize(planes: Tensor, tables: Tensor) -> Tensor:
    """Round the cosine transforms of planes (batch, n, H, W) in [0, 255] to multiples of tables (batch, 1, 8, 8)."""
    height, width = planes.shape[2:]
    blocks = repeat_edge(planes, 8, 8).unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4) - 128
    cosines, steps = cosine_matrix(blocks), tables[:, :, None, None]
    rounded = (cosines @ blocks @ cosines.mT / steps).round() * steps
    planes = (cosines.mT @ rounded @ cosines + 128).round().clamp(0, 255)
    return planes.transpose(3, 4).flatten(4, 5).flatten(2, 3)[:, :, :height, :width]


def cosine_matrix(like: Tensor) -> Tensor:
    """Return the orthonormal cosine transform of 8 numbers, (8, 8), a row a frequency."""
    number = torch.arange(8, device=like.device, dtype=like.dtype)
    matrix = torch.cos(math.pi / 16 * number[:, None] * (2 * number + 1)) / 2
    return torch.where(number[:, None] == 0, matrix * math.sqrt(0.5), matrix)


def halve(planes: Tensor) -> Tensor:
    """Average 2x2 pixels as libjpeg does: halves are rounded down and up in turns, and columns fill whole blocks."""
    averages = avg_pool2d(repeat_edge(planes, 2, 16), 2)  # rows are added later, from averaged ones
    column = torch.arange(averages.shape[3], device=planes.device)
    return (averages + (1 + column % 2) / 4).floor()


def repeat_edge(planes: Tensor, rows: int, columns: int) -> Tensor:
    """Repeat the last row and column of planes until H and W are multiples of ``rows`` and ``columns``."""
    height, width = planes.shape[2:]
    return pad(planes, (0, -width % columns, 0, -height % rows), mode="replicate")


def rgb_to_ycbcr(levels: Tensor) -> Tensor:
    """Return Y, Cb and Cr, (batch, 3, H, W) in whole levels, of red, green and blue in [0, 255] (JFIF)."""
    red, green, blue = levels.unbind(1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([y, (blue - y) / 1.772 + 128, (red - y) / 1.402 + 128], 1).round().clamp(0, 255)


def ycbcr_to_rgb(planes: Tensor) -> Tensor:
    """Return red, green and blue, in whole levels."""
    y, cb, cr = planes.unbind(1)
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    return torch.stack([red, green, blue], 1).round().clamp(0, 255)
