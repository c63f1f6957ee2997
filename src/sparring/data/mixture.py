"""Points drawn from a mixture of Gaussians whose modes are known, so that missed modes can be counted.

To networks and checks a point is an image of ``image_size`` 1 whose ``channels`` are its coordinates.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from sparring.data.dataset import Data
from sparring.data.modalities.points import Points
from sparring.data.source import Count, Source
from sparring.randomness import generator
from sparring.storage.tensor_files import hash_of

Modes = Annotated[int, Field(ge=1, le=10_000)]


class Mixture(Source):
    """``count`` points (dims,) float32, every mode equally often; the label is the mode. The same for every seed.

    Args:
        centres: (modes, dims).
        sigma: deviation of each coordinate around its mode.
        count: points; at least one a mode.
    """

    modality = "points"

    def __init__(self, centres: Tensor, sigma: float, count: int):
        if count < len(centres):
            raise ValueError(f"count={count}: must be at least {len(centres)}, a point for each mode")
        self.centres, self.sigma, self.count = centres, sigma, count
        super().__init__(1, centres.shape[1], [str(mode) for mode in range(len(centres))])

    def drawn(self) -> Data:
        labels = torch.arange(self.count) % len(self.centres)
        noise = torch.randn(self.count, self.channels, generator=generator("mixture"))
        points = self.centres[labels] + self.sigma * noise
        return Data(
            {"images": points, "labels": labels},
            hash_of({"points": points}),
            self.class_names,
            name=self.name,
            centres=self.centres,
            sigma=self.sigma,
            modality=Points(),
        )


class Ring(Mixture):
    """Gaussians at equal distances on a circle around 0 (Srivastava et al. 2017, VEEGAN; Lin et al. 2018, PacGAN)."""

    def __init__(
        self,
        modes: Modes = 8,
        radius: PositiveFloat = 1.0,
        sigma: NonNegativeFloat = 0.01,
        count: Count = 100_000,
        image_size: Literal[1] = 1,
        channels: Literal[2] = 2,
    ):
        angles = torch.arange(modes) * (2 * math.pi / modes)
        super().__init__(radius * torch.stack([angles.cos(), angles.sin()], dim=1), sigma, count)


class Grid(Mixture):
    """side x side Gaussians on a square lattice around 0 (Srivastava et al. 2017, VEEGAN; Lin et al. 2018, PacGAN)."""

    def __init__(
        self,
        side: Modes = 5,
        spacing: PositiveFloat = 2.0,
        sigma: NonNegativeFloat = 0.05,
        count: Count = 100_000,
        image_size: Literal[1] = 1,
        channels: Literal[2] = 2,
    ):
        places = spacing * (torch.arange(side) - (side - 1) / 2)
        super().__init__(torch.cartesian_prod(places, places), sigma, count)


class Dirac(Mixture):
    """All data at 0, of one dimension (Mescheder et al. 2018, definition 2.1)."""

    def __init__(self, count: Count = 1_000, image_size: Literal[1] = 1, channels: Literal[1] = 1):
        super().__init__(torch.zeros(1, 1), 0.0, count)
