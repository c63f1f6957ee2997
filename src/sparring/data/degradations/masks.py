"""Lost pixels, for inpainting, and the plainest way to fill them in."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from sparring.data.degradations.base import Degradation, one_each
from sparring.randomness import Draws

Shape = Literal["box", "strokes", "half"]

STROKES, STEPS = 5, 8  # at most in an image; straight steps of each
TURN = 2 * math.pi / 5  # at most between two steps


class Mask(Degradation):
    """Pixels are lost, in all channels, and ``fill`` stands in their place.

    ``box``: one rectangle of the image's proportions, round(sqrt(area) * H) high and as wide as brings its pixels
    nearest to the area: exact to half a column, and at least one pixel. ``strokes``: two to five brush strokes, which
    cover round(area * H * W) pixels, exactly. ``half``: the left, right, top or bottom half, whichever is drawn for the
    image; of an odd size the smaller part.

    Args:
        shape: one of them, or several of which each image gets one, all as likely.
        area: share of the image's pixels that are lost, in (0, 1); ``half`` has its own.
        centred: the box is in the middle; else anywhere inside the image.
        fill: in [-1, 1]; 0 is grey.
    """

    masks = True

    def __init__(
        self,
        shape: Shape | Sequence[Shape] = "box",
        area: float = 0.25,
        centred: bool = False,
        fill: float = 0.0,
    ):
        super().__init__()
        self.shapes = (shape,) if isinstance(shape, str) else tuple(shape)
        if not self.shapes or set(self.shapes) - set(get_args(Shape)):
            raise ValueError(f"shape={shape}: one or several of {', '.join(get_args(Shape))}")
        if not 0 < area < 1:
            raise ValueError(f"area={area}: the share of pixels that are lost, above 0 and below 1")
        if not -1 <= fill <= 1:
            raise ValueError(f"fill={fill}: in [-1, 1], where 0 is grey")
        self.area, self.centred, self.fill = area, centred, fill

    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        height, width = images.shape[2:]
        makers = {
            "box": lambda: box(draws, height, width, self.area, self.centred),
            "strokes": lambda: strokes(draws, height, width, self.area),
            "half": lambda: half(draws, height, width),
        }
        lost = one_each([makers[shape]() for shape in self.shapes], draws, "degradation shape")
        lost = lost[:, None].to(images.device)
        return images.masked_fill(lost, self.fill), lost.to(images)


def box(draws: Draws, height: int, width: int, area: float, centred: bool) -> Tensor:
    """Whether each pixel is in a rectangle that covers ``area`` of the image: (batch, height, width)."""
    high = max(round(math.sqrt(area) * height), 1)
    wide = min(max(round(area * height * width / high), 1), width)
    places = draws.uniform("degradation box", 2)
    if centred:
        places = torch.full_like(places, 0.5)
    inside = []
    for size, cut, place in zip((height, width), (high, wide), places.unbind(1), strict=True):
        pixels = torch.arange(size, device=places.device) - (place * (size - cut + 1)).long()[:, None]
        inside.append((pixels >= 0) & (pixels < cut))
    return inside[0][:, :, None] & inside[1][:, None, :]


def half(draws: Draws, height: int, width: int) -> Tensor:
    """Whether each pixel is in the half that is drawn for the image: (batch, height, width)."""
    side = (draws.uniform("degradation half") * 4).long()
    rows, columns = (torch.arange(size, device=side.device) < size // 2 for size in (height, width))
    top, left = rows[:, None].expand(height, width), columns.expand(height, width)
    return torch.stack([top, top.flip(0), left, left.flip(1)])[side]


def strokes(draws: Draws, height: int, width: int, area: float) -> Tensor:
    """Whether each pixel is under a brush: (batch, height, width), round(area * height * width) of them in each image.

    Free-form masks after Yu et al. 2019 (Free-form image inpainting with gated convolution): each stroke is a random
    walk of straight steps with round joints, an eighth of the diagonal long on average. Where they draw the brush's
    width, here strokes have relative widths, from 1/2 to 3/2, and their common factor is what the area asks for: the
    pixels that are lost are those nearest to a stroke in units of its width.
    """
    numbers = draws.uniform("degradation strokes", STROKES, 4 + 2 * STEPS)
    start, (heading, brush) = numbers[:, :, :2], numbers[:, :, 2:4].unbind(2)
    turns, lengths = numbers[:, :, 4:].chunk(2, dim=2)
    angles = 2 * math.pi * heading[:, :, None] + (TURN * (2 * turns - 1)).cumsum(2)
    lengths = lengths * math.hypot(height, width) / 4
    ys = _walk(start[:, :, 0] * height, lengths * angles.sin(), height)
    xs = _walk(start[:, :, 1] * width, lengths * angles.cos(), width)

    count = 2 + (draws.uniform("degradation strokes count") * (STROKES - 1)).long()
    absent = torch.arange(STROKES, device=count.device) >= count[:, None]
    away = _squared_distance(ys, xs, height, width) / (brush + 0.5).square()[:, :, None, None]
    away = away.masked_fill(absent[:, :, None, None], math.inf).amin(1).flatten(1)
    nearest = away.topk(max(round(area * height * width), 1), largest=False).indices
    return torch.zeros_like(away, dtype=torch.bool).scatter(1, nearest, True).view(-1, height, width)


def _squared_distance(ys: Tensor, xs: Tensor, height: int, width: int) -> Tensor:
    """From each pixel's middle to each walk, (batch, walks, height, width), of corners (batch, walks, steps + 1)."""
    down = torch.arange(height, device=ys.device)[:, None] + 0.5
    right = torch.arange(width, device=ys.device) + 0.5
    nearest = None
    for step in range(ys.shape[2] - 1):  # one after the other and in place: this is what a large image's mask costs
        (y, to_y), (x, to_x) = (place[:, :, step : step + 2, None, None].unbind(2) for place in (ys, xs))
        dy, dx = to_y - y, to_x - x
        length = (dy.square() + dx.square()).clamp(min=1e-6)
        share = ((down - y) * dy / length + (right - x) * dx / length).clamp_(0, 1)  # of the step, at its nearest place
        away = torch.addcmul(down - y, share, dy, value=-1).square_()
        away += torch.addcmul(right - x, share, dx, value=-1).square_()
        nearest = away if nearest is None else torch.minimum(nearest, away)
    return nearest


def _walk(start: Tensor, steps: Tensor, size: int) -> Tensor:
    """Places (batch, walks, steps + 1) on an axis, kept in [0, size] by mirrors at its ends."""
    places = torch.cat([start[:, :, None], start[:, :, None] + steps.cumsum(2)], dim=2)
    return size - (places.remainder(2 * size) - size).abs()


def mean_fill(damaged: Tensor, mask: Tensor) -> Tensor:
    """Images (batch, C, H, W) whose lost pixels have the mean of the known ones, of each image and channel.

    Where an image lost every pixel: grey, 0.

    Args:
        damaged: images (batch, C, H, W); what stands in lost pixels is not looked at.
        mask: (batch, 1, H, W), 1 where a pixel is lost and 0 elsewhere.
    """
    known = 1 - mask
    mean = (damaged * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    return torch.where(mask > 0, mean, damaged)
