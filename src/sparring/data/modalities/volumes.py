"""Arrays of three axes: clips, frames in time, and voxels, slices in depth."""

import math
from abc import abstractmethod
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from sparring.data.image_grids import columns_for, enlarged, save_gif, tile
from sparring.data.modalities.base import Modality
from sparring.data.modalities.images import from_bytes, to_bytes

PLAYED = 25  # examples in a combined file


class Volumes(Modality):
    """uint8 (C, frames or depth, H, W), C 1 or 3; networks see [-1, 1], channels last, which convolutions prefer.

    A classifier sees the frames as the channels of one image, so that it sees motion.
    """

    ending, has_combined_file = ".gif", True
    milliseconds = 80  # that a frame is shown

    def scaled(self, stored: Tensor) -> Tensor:
        return from_bytes(stored).contiguous(memory_format=torch.channels_last_3d)

    def stored(self, produced: Tensor) -> Tensor:
        return to_bytes(produced)

    def seen(self, examples: Tensor) -> Tensor:
        return examples.flatten(1, 2)

    @abstractmethod
    def moving(self, examples: Tensor) -> Tensor:
        """Return the frames that a file shows of examples (batch, C, T, H, W): (batch, C, frames, H', W') uint8."""

    def save(self, example: Tensor, path: Path) -> None:
        save_gif(list(self.moving(example[None])[0].unbind(1)), path, self.milliseconds)

    def write_combined(self, examples: Tensor, path: Path) -> None:
        """Write the first 25 side by side, all moving at once."""
        moving = enlarged(self.moving(examples[:PLAYED].cpu()))
        columns = columns_for(len(moving), 0)
        save_gif([tile(frames, columns) for frames in moving.unbind(2)], path, self.milliseconds)


class Clips(Volumes):
    """Video: (C, frames, H, W)."""

    name = "clips"

    def moving(self, examples: Tensor) -> Tensor:
        return examples

    def stills(self, examples: Tensor) -> Tensor:
        """Return of each clip a strip of up to four frames, from the first to the last; small ones are enlarged."""
        frames = examples.shape[2]
        chosen = torch.linspace(0, frames - 1, min(frames, 4)).round().long()
        strip = F.pad(enlarged(examples[:, :, chosen.to(examples.device)]), (0, 1), value=128)  # a grey line after each
        return strip.movedim(2, 3).flatten(3)[..., :-1]


class Voxels(Volumes):
    """Solids: (C, depth, H, W), the first slice nearest and H pointing down; 0 is empty, 255 is full, or the colour."""

    name = "voxels"

    def stills(self, examples: Tensor) -> Tensor:
        return enlarged(lit(examples, turn=math.radians(30)))

    def moving(self, examples: Tensor) -> Tensor:
        """Return 24 views, once around the vertical axis."""
        return torch.stack([lit(examples, 2 * math.pi * step / 24) for step in range(24)], 2)


def lit(voxels: Tensor, turn: float, tilt: float = math.radians(25)) -> Tensor:
    """Render solids from a little above, without perspective, under a lamp at the upper left.

    Rays collect light from front to back (emission and absorption, Max 1995): voxels of less than a quarter of the full
    value are air, those of more than half opaque. A voxel's light is Lambert's, by the slope of the values around it.

    Args:
        voxels: (batch, 1 or 3, depth, H, W) uint8.
        turn: rotation around the vertical axis, in radians.
        tilt: of the eye above the horizon, in radians.

    Returns:
        Images (batch, 1 or 3, H, W) uint8; the whole solid fits into the picture, whatever the turn.
    """
    solid, sizes = voxels.float() / 255, torch.tensor(voxels.shape[:1:-1], dtype=torch.float32)  # width, height, depth
    y, x = (torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]) for a in (turn, -tilt))
    around, down = torch.eye(3), torch.eye(3)
    around[::2, ::2], down[1:, 1:] = y, x
    # grid_sample asks where in the solid, each axis from -1 to 1, a place of the view lies
    places = (around @ down) * sizes.max() / sizes[:, None] * 1.5  # a cube's diagonal, tilted
    height, width = voxels.shape[3:]
    rays = int(max(voxels.shape[2:]))
    grid = F.affine_grid(F.pad(places, (0, 1))[None], [1, 1, rays, height, width], align_corners=False)
    seen = F.grid_sample(solid, grid.to(solid.device).expand(len(solid), -1, -1, -1, -1), align_corners=False)
    density = seen.amax(1, keepdim=True)  # (batch, 1, depth, H, W), the nearest first
    slopes = torch.stack(torch.gradient(F.avg_pool3d(density, 3, 1, 1), dim=(4, 3, 2)))
    lamp = F.normalize(torch.tensor([1.0, 1.0, 1.5]), dim=0).to(solid.device).view(3, 1, 1, 1, 1, 1)
    cosine = (slopes * lamp).sum(0) / slopes.square().sum(0).sqrt().clamp(min=1e-3)
    light = 0.35 + 0.65 * cosine.clamp(0, 1)
    opacity = (4 * density - 1).clamp(0, 1)
    passed = (1 - opacity).cumprod(2).roll(1, 2)  # the share of a voxel's light that passes all in front
    passed[:, :, 0] = 1
    colours = seen / density.clamp(min=1e-3)
    return (passed * opacity * light * colours).sum(2).mul(255).round().clamp(0, 255).to(torch.uint8)
