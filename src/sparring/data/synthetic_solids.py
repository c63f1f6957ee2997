"""Solids drawn from formulas, as voxels: nothing to download."""

import math
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from sparring.data.dataset import Data
from sparring.data.modalities.volumes import Voxels
from sparring.data.source import Count
from sparring.data.volume_file import Volumetric
from sparring.randomness import generator
from sparring.storage.tensor_files import hash_of


class Solids(Volumetric):
    """Balls, boxes, cylinders, cones and rings as voxels, the same for every seed.

    Each has a random size and random proportions, is turned around its vertical axis and tilted by up to 30 degrees.

    Args:
        image_size: voxels of a side.
        count: solids; every kind as often as any other.
    """

    modality = "voxels"

    def __init__(self, image_size: PositiveInt = 24, channels: Literal[1] = 1, count: Count = 4000):
        super().__init__(image_size, channels, ["ball", "box", "cylinder", "cone", "ring"])
        self.frames, self.count = image_size, count

    def drawn(self) -> Data:
        labels = torch.arange(self.count) % self.num_classes
        numbers = torch.rand(self.count, 6, generator=generator("solids"))
        parts = [self._voxels(*part) for part in zip(labels.split(100), numbers.split(100), strict=True)]
        columns = {"images": torch.cat(parts), "labels": labels}
        return Data(columns, hash_of(columns), self.class_names, name=self.name, modality=Voxels())

    def _voxels(self, labels: Tensor, numbers: Tensor) -> Tensor:
        """Draw solids (batch, 1, D, H, W) uint8, smooth at the edges, by kinds (batch,) and numbers (batch, 6)."""
        places = (torch.arange(self.image_size) + 0.5) / self.image_size * 2 - 1
        z, y, x = torch.meshgrid(places, places, places, indexing="ij")
        turn, tilt, size, *sides = (column.view(-1, 1, 1, 1) for column in numbers.unbind(1))
        turn, tilt, size = 2 * math.pi * turn, math.radians(30) * (2 * tilt - 1), 0.5 + 0.3 * size
        x, z = turn.cos() * x - turn.sin() * z, turn.sin() * x + turn.cos() * z
        y, z = tilt.cos() * y - tilt.sin() * z, tilt.sin() * y + tilt.cos() * z
        radius = (x.square() + z.square()).sqrt()  # from the vertical axis
        wide, high, deep = (size * (0.5 + 0.5 * side) for side in sides)
        distance = torch.stack([  # of the surface of each kind; below zero inside
            (radius.square() + y.square()).sqrt() - size,
            torch.maximum(torch.maximum(x.abs() - wide, y.abs() - high), z.abs() - deep),
            torch.maximum(radius - 0.7 * wide, y.abs() - size),
            torch.maximum((radius - wide * (y / size + 1) / 2) * 0.9, y.abs() - size),
            ((radius - 0.7 * size).square() + y.square()).sqrt() - 0.4 * wide,
        ])  # fmt: skip
        chosen = distance[labels, torch.arange(len(labels))]
        return (0.5 - chosen * self.image_size / 2).clamp(0, 1).mul(255).round().to(torch.uint8)[:, None]
