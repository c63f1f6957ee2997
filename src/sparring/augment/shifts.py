"""Flips and shifts by whole pixels of images (batch, C, H, W).

They gather rows and columns by index, which is exact and differentiable any number of times.
"""

import torch
from torch import Tensor

from sparring.augment.base import check_images
from sparring.data.padding import mirror_index
from sparring.randomness import Draws


def take(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return images whose row y is the image's row ``rows[:, y]``, (batch, H), and columns alike, (batch, W)."""
    taken = images.gather(2, rows[:, None, :, None].expand_as(images))
    return taken.gather(3, columns[:, None, None, :].expand_as(images))


def shift_with_zeros(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Shift images by whole pixels (batch,); new pixels are zero, a mid grey."""
    height, width = images.shape[2:]
    rows, columns = (torch.arange(n, device=images.device) - by[:, None] for n, by in ((height, down), (width, right)))
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None, :]
    return take(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1)) * inside


def flip_and_shift(images: Tensor, draws: Draws, purpose: str) -> Tensor:
    """Flip images left to right with probability 1/2, shift them by up to an eighth of their size, mirror the edge.

    Raises:
        ValueError: these are not images, or not as many as there are draws.
    """
    check_images(images, draws)
    flip, down, right = draws.uniform(purpose, 3).unbind(1)
    rows, columns = (
        mirror_index(torch.arange(n, device=images.device) - to_whole(by, n // 8)[:, None], n)
        for n, by in zip(images.shape[2:], (down, right), strict=True)
    )
    return take(images, rows, torch.where(flip[:, None] < 0.5, images.shape[3] - 1 - columns, columns))


def to_whole(uniform: Tensor, largest: int) -> Tensor:
    """Return whole numbers from -``largest`` to ``largest``, with equal probability, from numbers in [0, 1)."""
    return (uniform * (2 * largest + 1)).long() - largest
