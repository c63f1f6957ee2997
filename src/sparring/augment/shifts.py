"""Flips and shifts by whole pixels: rows and columns of images (batch, C, H, W) taken by their numbers.

Gathering is differentiable any number of times, and exact.
"""

import torch
from torch import Tensor

from sparring.augment.base import check_images
from sparring.data.padding import mirror_index
from sparring.randomness import Draws


def take(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images (batch, C, H, W) whose row y is the image's row ``rows[:, y]`` (batch, H), and columns alike (batch, W)."""
    taken = images.gather(2, rows[:, None, :, None].expand_as(images))
    return taken.gather(3, columns[:, None, None, :].expand_as(images))


def shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Images shifted by whole pixels (batch,), zeros, a mid grey, coming in."""
    rows, columns = (_numbers(images, axis) - by[:, None] for axis, by in ((2, down), (3, right)))
    inside = (within(rows, images.shape[2]))[:, None, :, None] & within(columns, images.shape[3])[:, None, None, :]
    height, width = images.shape[2:]
    return take(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1)) * inside


def slightly_changed(images: Tensor, draws: Draws, purpose: str) -> Tensor:
    """Images flipped left to right with probability 1/2 and shifted by up to an eighth of their size, the edge mirrored.

    Raises:
        ValueError: these are not images, or not as many as there are draws.
    """
    check_images(images, draws)
    flip, down, right = draws.uniform(purpose, 3).unbind(1)
    rows, columns = _numbers(images, 2), _numbers(images, 3)
    columns = torch.where(flip[:, None] < 0.5, columns.flip(1), columns)
    rows, columns = (
        places.gather(
            1, mirror_index(_numbers(images, axis) - whole(by, places.shape[1] // 8)[:, None], places.shape[1])
        )
        for axis, places, by in ((2, rows, down), (3, columns, right))
    )
    return take(images, rows, columns)


def whole(uniform: Tensor, largest: int) -> Tensor:
    """Whole numbers from -``largest`` to ``largest``, all as likely, from numbers in [0, 1)."""
    return (uniform * (2 * largest + 1)).long() - largest


def within(places: Tensor, size: int) -> Tensor:
    return (places >= 0) & (places < size)


def _numbers(images: Tensor, axis: int) -> Tensor:
    """0, 1, ... along an axis, for each image."""
    return torch.arange(images.shape[axis], device=images.device).expand(len(images), -1)
