"""JPEG's loss, without its file: what is rounded away, computed on the device (ITU-T T.81; libjpeg)."""

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from sparring.data.degradations.base import Degradation, bounds
from sparring.randomness import Draws

# ITU-T T.81, annex K, tables K.1 and K.2: rows of 8.
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
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8 for _ in range(4)),
)


class JPEG(Degradation):
    """What JPEG makes of images of 1 or 3 channels: colours as luminance and chrominance, 8x8 cosine transforms, rounding.

    As libjpeg (and so Pillow) encodes and decodes them: the same tables, whole levels in between, chrominance at half
    the resolution averaged on the way and interpolated on the way back. The result has whole levels of 8 bits, and differs
    from libjpeg's where its integer transforms round otherwise.

    Args:
        quality: 1 to 100, or [low, high]: a whole number drawn per image.
        subsampling: chrominance at half the resolution (4:2:0), Pillow's default; else at the full one (4:4:4).
    """

    def __init__(self, quality: int | tuple[int, int] = 20, subsampling: bool = True):
        super().__init__()
        self.quality = bounds("quality", quality, 1, 100)
        self.subsampling = subsampling
        self.register_buffer("tables", torch.tensor([LUMINANCE, CHROMINANCE]), persistent=False)

    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, None]:
        channels, height, width = images.shape[1:]
        if channels not in (1, 3):
            raise ValueError(f"JPEG is for images of 1 or 3 channels; these have {channels}")
        low, high = self.quality
        quality = low + (draws.uniform("degradation jpeg").to(images.device) * (high - low + 1)).long()
        tables = scaled(self.tables.to(images.device), quality).to(images.dtype)  # (batch, 2, 8, 8)
        levels = ((images + 1) * 127.5).round()
        if channels == 1:
            return coded(levels, tables[:, :1]) / 127.5 - 1, None
        planes = luminance_and_chrominance(levels)
        colours = planes[:, 1:]
        if self.subsampling:
            colours = halved(colours)
        colours = coded(colours, tables[:, 1:])
        if self.subsampling:
            colours = colours[:, :, : (height + 1) // 2, : (width + 1) // 2]
            colours = interpolate(colours, scale_factor=2, mode="bilinear").round()[:, :, :height, :width]
        return red_green_blue(torch.cat([coded(planes[:, :1], tables[:, :1]), colours], 1)) / 127.5 - 1, None


def scaled(tables: Tensor, quality: Tensor) -> Tensor:
    """Quantisation tables (batch, n, 8, 8) from those of quality 50, (n, 8, 8), as libjpeg scales them."""
    percent = torch.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None, None, None]
    return ((tables * percent + 50) // 100).clamp(1, 255)


def coded(planes: Tensor, tables: Tensor) -> Tensor:
    """Planes (batch, n, H, W) in [0, 255] after their cosine transforms were rounded to multiples of ``tables``.

    Args:
        planes: any H and W; the edge is repeated up to a multiple of 8.
        tables: (batch, 1, 8, 8).
    """
    height, width = planes.shape[2:]
    blocks = widened(planes, 8, 8).unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4) - 128
    cosines, steps = transform(blocks), tables[:, :, None, None]
    rounded = (cosines @ blocks @ cosines.mT / steps).round() * steps
    planes = (cosines.mT @ rounded @ cosines + 128).round().clamp(0, 255)
    return planes.transpose(3, 4).flatten(4, 5).flatten(2, 3)[:, :, :height, :width]


def transform(like: Tensor) -> Tensor:
    """The orthonormal cosine transform of 8 numbers, a matrix (8, 8) whose row is the frequency."""
    number = torch.arange(8, device=like.device, dtype=like.dtype)
    matrix = torch.cos(math.pi / 16 * number[:, None] * (2 * number + 1)) / 2
    return torch.where(number[:, None] == 0, matrix * math.sqrt(0.5), matrix)


def halved(planes: Tensor) -> Tensor:
    """Planes at half the resolution, wide enough for whole blocks, as libjpeg averages: halves go down and up in turns."""
    averages = avg_pool2d(widened(planes, 2, 16), 2)  # rows are added later, from averaged ones
    column = torch.arange(averages.shape[3], device=planes.device)
    return (averages + (1 + column % 2) / 4).floor()


def widened(planes: Tensor, down: int, right: int) -> Tensor:
    """Planes with their last row and column repeated up to multiples of ``down`` and ``right``."""
    height, width = planes.shape[2:]
    return pad(planes, (0, -width % right, 0, -height % down), mode="replicate")


def luminance_and_chrominance(levels: Tensor) -> Tensor:
    """Y, Cb and Cr, (batch, 3, H, W) in whole levels, of red, green and blue in [0, 255] (JFIF)."""
    red, green, blue = levels.unbind(1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([y, (blue - y) / 1.772 + 128, (red - y) / 1.402 + 128], 1).round().clamp(0, 255)


def red_green_blue(planes: Tensor) -> Tensor:
    """The way back, in whole levels."""
    y, cb, cr = planes.unbind(1)
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    return torch.stack([red, green, blue], 1).round().clamp(0, 255)
