"""The changes of StyleGAN2-ADA as matrices, one an image (Karras et al. 2020, appendix B, and their code).

Each change is drawn for every image and made with its probability ``p`` (), which stays on the device.

Geometric matrices are inverse maps: they take (x, y, 1), in pixels from the image's centre, of a pixel of the result to
the position in the image where its value comes from. So ``translate(-3, 0)`` moves the content 3 pixels to the right,
and a product A @ B makes the change A first.
"""

import math

import torch
from torch import Tensor

from sparring.data.padding import mirror_index
from sparring.randomness import Draws


def matrices(*rows: tuple[Tensor | float, ...]) -> Tensor:
    """Return matrices (batch, m, n) from m rows of n numbers, each one for all images or one an image (batch,)."""
    numbers = [number for row in rows for number in row]
    like = next(number for number in numbers if isinstance(number, Tensor))
    filled = [number if isinstance(number, Tensor) else torch.full_like(like, number) for number in numbers]
    return torch.stack(filled, 1).view(len(like), len(rows), -1)


def translate(x: Tensor, y: Tensor) -> Tensor:
    """Return the inverse map of a shift of the content by (-x, -y) pixels, each (batch,): (batch, 3, 3)."""
    return matrices((1, 0, x), (0, 1, y), (0, 0, 1))


def scale(x: Tensor, y: Tensor) -> Tensor:
    """Return the inverse map of making the content 1/x as wide and 1/y as high, each (batch,): (batch, 3, 3)."""
    return matrices((x, 0, 0), (0, y, 0), (0, 0, 1))


def rotate(cosine: Tensor, sine: Tensor) -> Tensor:
    """Return the inverse map of a rotation of the content by minus the angle, (batch, 3, 3)."""
    return matrices((cosine, -sine, 0), (sine, cosine, 0), (0, 0, 1))


def geometric_matrix(draws: Draws, purpose: str, blit: Tensor, geometry: Tensor, height: int, width: int) -> Tensor:
    """Draw the inverse map of all geometric changes, (batch, 3, 3).

    Args:
        draws: the random numbers of the turn.
        purpose: what the images are, for instance "real".
        blit: probability () of each: flip left to right, rotation by 90 degrees, shift by whole pixels up to an eighth.
        geometry: probability () of each: scale, rotation, anisotropic scale, fractional shift.
        height: of the images.
        width: of the images.
    """
    share = draws.uniform(f"ada places {purpose}", 14).unbind(1)
    normal = draws.normal(f"ada places {purpose} normal", 4).unbind(1)

    flip = torch.where((share[0] < blit) & (share[1] < 0.5), -1.0, 1.0).to(share[0])
    quarter = torch.where(share[2] < blit, (4 * share[3]).floor(), 0.0)
    cosine, sine = (quarter == 0).to(flip) - (quarter == 2).to(flip), (quarter == 1).to(flip) - (quarter == 3).to(flip)
    x, y = (
        torch.where(share[4] < blit, ((2 * share[i] - 1) / 8 * n).round(), 0.0) for i, n in ((5, width), (6, height))
    )
    matrix = scale(flip, torch.ones_like(flip)) @ rotate(cosine, sine) @ translate(-x, -y)

    zoom = torch.where(share[7] < geometry, torch.exp2(-0.2 * normal[0]), 1.0)
    once = 1 - (1 - geometry).sqrt()  # a rotation before, after or on both sides of the stretch has the probability
    before, after = (torch.where(share[i] < once, (2 * share[i + 1] - 1) * math.pi, 0.0) for i in (8, 10))
    stretch = torch.where(share[12] < geometry, torch.exp2(-0.2 * normal[1]), 1.0)
    x, y = (torch.where(share[13] < geometry, by / 8 * n, 0.0) for by, n in ((normal[2], width), (normal[3], height)))
    matrix = matrix @ scale(zoom, zoom) @ rotate(before.cos(), before.sin()) @ scale(stretch, 1 / stretch)
    return matrix @ rotate(after.cos(), after.sin()) @ translate(-x, -y)


def warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Return images (batch, C, H, W) resampled bilinearly by the inverse map ``matrix``, (batch, 3, 3), edges mirrored.

    It gathers pixels, because torch's grid_sample has no second derivative.
    """
    height, width = images.shape[2:]
    across, down = (torch.arange(n, device=images.device, dtype=images.dtype) - (n - 1) / 2 for n in (width, height))
    y, x = torch.meshgrid(down, across, indexing="ij")
    centred = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    x, y = (matrix[:, :2] @ centred).unbind(1)  # (batch, H * W)
    columns, rows = (_neighbours(position + (n - 1) / 2, n) for position, n in ((x, width), (y, height)))
    flat = images.flatten(2)
    parts = [
        flat.gather(2, (row * width + column)[:, None].expand_as(flat)) * (upper * left)[:, None]
        for row, upper in rows
        for column, left in columns
    ]
    return sum(parts[1:], parts[0]).view_as(images)


def _neighbours(position: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Return the two pixels next to a position on an axis, and the weight of each."""
    below = position.floor()
    share = position - below
    return [(mirror_index(below.long(), size), 1 - share), (mirror_index(below.long() + 1, size), share)]


def color_matrix(draws: Draws, purpose: str, p: Tensor) -> Tensor:
    """Draw the matrix for (red, green, blue, 1), (batch, 3, 4); each change has probability ``p`` ().

    Along the grey axis: brightness N(0, 0.2^2) is added, contrast 2^N(0, 0.5^2) multiplies, the luma flip changes the
    sign. Around it: the hue turns by any angle, saturation 2^N(0, 1) multiplies.
    """
    share = draws.uniform(f"ada colors {purpose}", 7).unbind(1)
    normal = draws.normal(f"ada colors {purpose} normal", 3)[:, :, None, None].unbind(1)
    share = [each[:, None, None] for each in share]
    brightness = torch.where(share[0] < p, 0.2 * normal[0], 0.0)
    contrast = torch.where(share[1] < p, torch.exp2(0.5 * normal[1]), 1.0)
    flip = torch.where((share[2] < p) & (share[3] < 0.5), -1.0, 1.0)
    hue = torch.where(share[4] < p, (2 * share[5] - 1) * math.pi, 0.0)
    saturation = torch.where(share[6] < p, torch.exp2(normal[2]), 1.0)

    eye = torch.eye(3, dtype=brightness.dtype, device=brightness.device)
    along = torch.full_like(eye, 1 / 3)  # projects on the grey axis
    around = eye - along
    quarter = (eye.roll(1, 0) - eye.roll(-1, 0)) / math.sqrt(3)  # turns by 90 degrees
    matrix = contrast * (flip * along + saturation * (hue.cos() * around + hue.sin() * quarter))
    return torch.cat([matrix, matrix.sum(2, keepdim=True) * brightness], 2)


def cutout(images: Tensor, draws: Draws, purpose: str, p: Tensor) -> Tensor:
    """Set a rectangle of half the size, centred anywhere in the image, to zero with probability ``p`` ()."""
    chosen, *centre = draws.uniform(f"ada cutout {purpose}", 3).unbind(1)
    down, right = (
        ((torch.arange(n, device=images.device) + 0.5) / n - at[:, None]).abs() >= 0.25
        for n, at in zip(images.shape[2:], centre, strict=True)
    )
    return images * (down[:, None, :, None] | right[:, None, None, :] | (chosen >= p)[:, None, None, None])
