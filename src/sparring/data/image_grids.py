"""Pictures of samples, uint8 (C, H, W): laid out in grids, plotted, and written to files."""

from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image
from torchvision.utils import make_grid

from sparring.storage.files import atomic_write

LEAST_SIDE = 64  # pixels; smaller examples are enlarged where a person looks at them closely


def save_image(image: Tensor, path: Path) -> None:
    """Write an image (C, H, W) uint8 as a PNG."""
    with atomic_write(path) as temporary:
        to_pil_image(image).save(temporary, format="png")


def save_gif(frames: list[Tensor], path: Path, milliseconds: int = 80) -> None:
    """Write frames (C, H, W) uint8 as an endless animation."""
    pictures = [to_pil_image(frame) for frame in frames]
    with atomic_write(path) as temporary:
        pictures[0].save(temporary, "gif", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)


def tile(images: Tensor, columns: int) -> Tensor:
    """Lay images (N, C, H, W) uint8 out in one picture (3, H', W') uint8, ``columns`` in a row."""
    return make_grid(images.cpu(), columns, padding=2, pad_value=255)


def enlarged(images: Tensor) -> Tensor:
    """Enlarge images or clips (..., H, W) to at least ``LEAST_SIDE`` pixels, each pixel to a square."""
    times = -(-LEAST_SIDE // max(images.shape[-2:]))
    return images.repeat_interleave(times, -2).repeat_interleave(times, -1)


def side_by_side(steps: list[Tensor]) -> Tensor:
    """Join the steps of N walks, each a batch (N, ...), to one batch (N * steps, ...), walk after walk."""
    return torch.stack([step.cpu() for step in steps], dim=1).flatten(0, 1)


def rows_of(steps: list[Tensor], times: int = 1) -> Tensor:
    """Lay out walks whose steps are batches (N, C, H, W) in one picture: ``times`` walks in a row."""
    return tile(side_by_side(steps), times * len(steps))


def columns_for(count: int, classes: int) -> int:
    """Return the columns of a grid: one a class if there are few of them, else nearly a square."""
    return classes if 2 <= classes <= 20 else max(round(count**0.5), 1)


def scatter(points: Tensor, behind: Tensor | None = None, size: int = 512) -> Tensor:
    """Plot points (N, 1 or 2), blue, in front of others, light grey: (3, size, size) uint8, both axes to one scale."""
    shown = points if behind is None else behind
    reach = 1.2 * float(shown.abs().max().clamp(min=1))
    picture = Image.new("RGB", (2 * size, 2 * size), "white")  # drawn at twice the size, so that dots are round
    draw = ImageDraw.Draw(picture)
    for group, colour, radius in ((behind, "#d0d0d0", 7), (points, "#1f5fbf", 3)):
        for x, *y in [] if group is None else group.tolist():
            column, row = (1 + x / reach) * size, (1 - (y[0] if y else 0.0) / reach) * size
            draw.ellipse((column - radius, row - radius, column + radius, row + radius), fill=colour)
    return pil_to_tensor(picture.resize((size, size), Image.Resampling.LANCZOS))
