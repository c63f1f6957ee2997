"""Lost pixels, for inpainting, and the simplest way to fill them in."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from sparring.data.degradations.base import Degradation, choose_per_image
from sparring.randomness import Draws

Shape = Literal["box", "strokes", "half"]

STROKES, STEPS = 5, 8  # most strokes of an image; straight steps of each
TURN = 2 * math.pi / 5  # largest angle between two steps


class Mask(Degradation):
    """Pixels are lost in all channels, and replaced by ``fill``.

    ``box``: a rectangle of the image's proportions, round(sqrt(area) * H) high, whose width brings its area nearest to
    the wanted one; at least one pixel. ``strokes``: two to five brush strokes, which cover exactly round(area * H * W)
    pixels. ``half``: the left, right, top or bottom half, drawn per image; the smaller part of an odd size.

    Args:
        shape: one of these, or several; each image gets one, with equal probability.
        area: share of the image's pixels that are lost; ignored by ``half``.
        centred: the box is in the middle; else anywhere inside the image.
        fill: value of lost pixels; 0 is grey.
    """

    masks = True

    def __init__(
        self,
        shape: Shape | Annotated[Sequence[Shape], Field(min_length=1)] = "box",
        area: Annotated[float, Field(gt=0, lt=1)] = 0.25,
        centred: bool = False,
        fill: Annotated[float, Field(ge=-1, le=1)] = 0.0,
    ):
        super().__init__()
        self.shapes = (shape,) if isinstance(shape, str) else tuple(shape)
        self.area, self.centred, self.fill = area, centred, fill

    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        height, width = images.shape[2:]
        makers = {
            "box": lambda: box(draws, height, width, self.area, self.centred),
            "strokes": lambda: strokes(draws, height, width, self.area),
            "half": lambda: half(draws, height, width),
        }
        lost = choose_per_image([makers[shape]() for shape in self.shapes], draws, "degradation shape")
        lost = lost[:, None].to(images.device)
        return images.masked_fill(lost, self.fill), lost.to(images)


def box(draws: Draws, height: int, width: int, area: float, centred: bool) -> Tensor:
    """Return whether each pixel is in a rectangle that covers ``area`` of the image, (batch, height, width)."""
    high = max(round(math.sqrt(area) * height), 1)
    wide = min(max(round(area * height * width / high), 1), width)
    corner = draws.uniform("degradation box", 2)
    if centred:
        corner = torch.full_like(corner, 0.5)
    inside = []
    for size, cut, start in zip((height, width), (high, wide), corner.unbind(1), strict=True):
        pixels = torch.arange(size, device=start.device) - (start * (size - cut + 1)).long()[:, None]
        inside.append((pixels >= 0) & (pixels < cut))
    return inside[0][:, :, None] & inside[1][:, None, :]


def half(draws: Draws, height: int, width: int) -> Tensor:
    """Return whether each pixel is in the half that is drawn for the image, (batch, height, width)."""
    side = (draws.uniform("degradation half") * 4).long()
    rows, columns = (torch.arange(size, device=side.device) < size // 2 for size in (height, width))
    top, left = rows[:, None].expand(height, width), columns.expand(height, width)
    return torch.stack([top, top.flip(0), left, left.flip(1)])[side]


def strokes(draws: Draws, height: int, width: int, area: float) -> Tensor:
    """Return whether each pixel is under a brush, (batch, height, width): round(area * height * width) in each image.

    Free-form masks after Yu et al. 2019 (Free-form image inpainting with gated convolution): each stroke is a random
    walk of straight steps with round joints, on average an eighth of the diagonal long. They draw the brush's width;
    here strokes have relative widths, from 1/2 to 3/2, and their common factor follows from the area: the lost pixels
    are those nearest to a stroke in units of its width.
    """
    uniform = draws.uniform("degradation strokes", STROKES, 4 + 2 * STEPS)
    start, (heading, brush) = uniform[:, :, :2], uniform[:, :, 2:4].unbind(2)
    turns, lengths = uniform[:, :, 4:].chunk(2, dim=2)
    angles = 2 * math.pi * heading[:, :, None] + (TURN * (2 * turns - 1)).cumsum(2)
    lengths = lengths * math.hypot(height, width) / 4
    ys = _walk(start[:, :, 0] * height, lengths * angles.sin(), height)
    xs = _walk(start[:, :, 1] * width, lengths * angles.cos(), width)

    count = 2 + (draws.uniform("degradation strokes count") * (STROKES - 1)).long()
    absent = torch.arange(STROKES, device=count.device) >= count[:, None]
    distance = _squared_distance(ys, xs, height, width) / (brush + 0.5).square()[:, :, None, None]
    distance = distance.masked_fill(absent[:, :, None, None], math.inf).amin(1).flatten(1)
    nearest = distance.topk(max(round(area * height * width), 1), largest=False).indices
    return torch.zeros_like(distance, dtype=torch.bool).scatter(1, nearest, True).view(-1, height, width)


def _squared_distance(ys: Tensor, xs: Tensor, height: int, width: int) -> Tensor:
    """Return distances of pixels to walks, (batch, walks, height, width); corners are (batch, walks, steps + 1)."""
    down = torch.arange(height, device=ys.device)[:, None] + 0.5
    right = torch.arange(width, device=ys.device) + 0.5
    nearest = torch.full((), math.inf, device=ys.device)
    for step in range(ys.shape[2] - 1):  # one by one and in place, which saves memory
        (y, to_y), (x, to_x) = (ends[:, :, step : step + 2, None, None].unbind(2) for ends in (ys, xs))
        dy, dx = to_y - y, to_x - x
        length = (dy.square() + dx.square()).clamp(min=1e-6)
        share = ((down - y) * dy / length + (right - x) * dx / length).clamp_(
            0, 1
        )  # of the step, up to its nearest point
        distance = torch.addcmul(down - y, share, dy, value=-1).square_()
        distance += torch.addcmul(right - x, share, dx, value=-1).square_()
        nearest = torch.minimum(nearest, distance)
    return nearest


def _walk(start: Tensor, steps: Tensor, size: int) -> Tensor:
    """Return positions (batch, walks, steps + 1) on an axis, mirrored at 0 and ``size``."""
    positions = torch.cat([start[:, :, None], start[:, :, None] + steps.cumsum(2)], dim=2)
    return size - (positions.remainder(2 * size) - size).abs()


def mean_fill(damaged: Tensor, mask: Tensor) -> Tensor:
    """Fill lost pixels with the mean of the known ones, of each image and channel; 0, grey, if all are lost.

    Args:
        damaged: images (batch, C, H, W); the values of lost pixels are ignored.
        mask: (batch, 1, H, W), 1 where a pixel is lost and 0 elsewhere.
    """
    known = 1 - mask
    mean = (damaged * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    return torch.where(mask > 0, mean, damaged)
