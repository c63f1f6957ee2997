"""Small multi-layer perceptrons for points (batch, dims): the testbeds of rings and grids."""

import math

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from sparring.networks.arguments import Blocks, Classes, Depth, Group, Width
from sparring.networks.base_discriminator import BaseDiscriminator
from sparring.networks.layers import LabelledLatents


def perceptron(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    """``depth`` hidden layers of ``width`` units with LeakyReLU 0.2."""
    layers: list[nn.Module] = []
    for size in [inputs] + [width] * (depth - 1):
        layers += [nn.Linear(size, width), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class Waves(nn.Module):
    """Points (batch, dims) and sines and cosines of their coordinates, (batch, dims * (1 + 2 * octaves)).

    With them a small network learns fine details sooner (Tancik et al. 2020, eq. 5 with frequencies frequency * 2**k).
    """

    frequencies: Tensor

    def __init__(self, octaves: int, frequency: float = 1.0):
        super().__init__()
        self.register_buffer("frequencies", frequency * 2.0 ** torch.arange(octaves), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        angles = (points[:, :, None] * self.frequencies).flatten(1)
        return torch.cat([points, angles.sin(), angles.cos()], dim=1)


class Sharp(nn.Module):
    """Half of the units (batch, width) become tanh(sharpness * x), nearly steps; the others LeakyReLU 0.2."""

    def __init__(self, sharpness: float):
        super().__init__()
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        steps, slopes = x.chunk(2, dim=1)
        return torch.cat([(self.sharpness * steps).tanh(), leaky_relu(slopes, 0.2)], dim=1)


class Generator(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> points (batch, dims).

    Args:
        latent_dim, num_classes: see ``arguments``.
        dims: coordinates of a point.
        width: units of each hidden layer.
        depth: hidden layers.
        sharpness: if above 0, half the units of the last hidden layer are tanh(sharpness * x). A continuous map of one
            Gaussian to separate modes crosses the gaps between them: few samples are in a gap only if the map is steep.
        scale: factor of the output, about the size of the data.
    """

    def __init__(
        self,
        dims: int = 2,
        latent_dim: Width = 2,
        width: Width = 128,
        depth: Depth = 3,
        num_classes: Classes = 0,
        sharpness: NonNegativeFloat = 0.0,
        scale: float = 1.0,
    ):
        super().__init__()
        self.latents = LabelledLatents(latent_dim, num_classes)
        self.layers = perceptron(self.latents.dim, width, depth, dims)
        if sharpness:
            self.layers[-2] = Sharp(sharpness)
        self.scale = scale

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.scale * self.layers(self.latents(latents, labels))


class Discriminator(BaseDiscriminator):
    """Points (batch, dims), labels (batch,) -> logits (batch,).

    Args:
        num_classes, minibatch_stddev: see ``arguments``.
        dims: coordinates of a point, or of a pack of points.
        width: units of each hidden layer.
        depth: hidden layers.
        octaves: sines and cosines a coordinate, see ``Waves``.
        frequency: of the slowest, in radians a unit.
    """

    def __init__(
        self,
        dims: int = 2,
        width: Width = 128,
        depth: Depth = 3,
        num_classes: Classes = 0,
        minibatch_stddev: Group = 0,
        octaves: Blocks = 0,
        frequency: PositiveFloat = math.pi / 2,
    ):
        super().__init__(width, num_classes, minibatch_stddev)
        self.waves = Waves(octaves, frequency)
        self.layers = perceptron(dims * (1 + 2 * octaves), width, depth, width)[:-1]

    def features(self, images: Tensor) -> Tensor:
        return self.layers(self.waves(images))
