"""Points drawn from a mixture of Gaussians whose modes are known: what a generator misses can be counted.

To networks and checks a point is an image of ``image_size`` 1 with its coordinates as ``channels``.
"""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from sparring.data.dataset import Data
from sparring.data.modalities.points import Points
from sparring.data.source import Example, Source
from sparring.randomness import generator
from sparring.storage.tensor_files import hash_of


class Mixture(Source):
    """``count`` points (dims,) float32, every mode as often as any other; the label is the mode. The same for every seed.

    Args:
        centres: (modes, dims).
        sigma: deviation of each coordinate around its mode.
        count: points.
    """

    modality = "points"

    def __init__(self, centres: Tensor, sigma: float, count: int):
        if sigma < 0 or count < len(centres):
            raise ValueError(
                f"sigma={sigma} count={count}: wanted sigma >= 0 and a point for each of {len(centres)} modes"
            )
        self.centres, self.sigma, self.count = centres, sigma, count
        self.image_size, self.channels = 1, centres.shape[1]
        self.class_names = [str(mode) for mode in range(len(centres))]

    def identity(self) -> dict:
        return {"centres": hash_of({"centres": self.centres}), "sigma": self.sigma, "count": self.count}

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Example]:
        data = self.drawn()
        yield from zip(data.columns["images"].numpy(), data.columns["labels"].tolist(), strict=True)

    def drawn(self) -> Data:
        labels = torch.arange(self.count) % len(self.centres)
        noise = torch.randn(self.count, self.channels, generator=generator("mixture"))
        points = self.centres[labels] + self.sigma * noise
        return Data(
            {"images": points, "labels": labels},
            hash_of({"points": points}),
            self.class_names,
            name=self.name,
            mixture=self,
            modality=Points(),
        )


class Ring(Mixture):
    """Gaussians at equal distances on a circle around 0 (Srivastava et al. 2017, VEEGAN; Lin et al. 2018, PacGAN)."""

    def __init__(
        self,
        modes: int = 8,
        radius: float = 1.0,
        sigma: float = 0.01,
        count: int = 100_000,
        image_size: Literal[1] = 1,
        channels: Literal[2] = 2,
    ):
        angles = torch.arange(modes) * (2 * math.pi / modes)
        super().__init__(radius * torch.stack([angles.cos(), angles.sin()], dim=1), sigma, count)


class Grid(Mixture):
    """side x side Gaussians on a square lattice around 0 (Srivastava et al. 2017, VEEGAN; Lin et al. 2018, PacGAN)."""

    def __init__(
        self,
        side: int = 5,
        spacing: float = 2.0,
        sigma: float = 0.05,
        count: int = 100_000,
        image_size: Literal[1] = 1,
        channels: Literal[2] = 2,
    ):
        places = spacing * (torch.arange(side) - (side - 1) / 2)
        super().__init__(torch.cartesian_prod(places, places), sigma, count)


class Dirac(Mixture):
    """All data at 0, of one dimension (Mescheder et al. 2018, definition 2.1)."""

    def __init__(self, count: int = 1_000, image_size: Literal[1] = 1, channels: Literal[1] = 1):
        super().__init__(torch.zeros(1, 1), 0.0, count)
