"""DCGAN (Radford et al. 2016): a pyramid of strided 4x4 convolutions, for any size b * 2**n with 4 <= b <= 7."""

import math
from typing import Any

from torch import Tensor, nn

from sparring.networks.arguments import Classes, Group, Width
from sparring.networks.base_discriminator import BaseDiscriminator
from sparring.networks.layers import (
    LabelledLatents,
    Normalization,
    halvings,
    initialize_discriminator_normally,
    initialize_normally,
    normalization,
)

KERNEL = {"kernel_size": 4, "stride": 2, "padding": 1}  # doubles or halves the size


def stage_widths(width: int, n: int) -> list[int]:
    """Channels of the n stages from the coarsest to the finest: doubling towards the coarse, at most 8 * width."""
    return [width * min(2**level, 8) for level in reversed(range(n))]


class _FromPoint:
    """Vectors (batch, C) -> (batch, C', *kernel_size): the transposed convolution of one pixel."""

    weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        # A matrix product is much faster. Channels-last weights are not copied, and the result is channels-last.
        weight = self.weight.movedim(1, -1)
        return (x @ weight.flatten(1)).unflatten(1, weight.shape[1:]).movedim(-1, 1)


class FromPixel(_FromPoint, nn.ConvTranspose2d):
    """The first layer of a generator of images."""


class FromVoxel(_FromPoint, nn.ConvTranspose3d):
    """The first layer of a generator of volumes."""


UP: dict[int, Any] = {2: (FromPixel, nn.ConvTranspose2d), 3: (FromVoxel, nn.ConvTranspose3d)}  # by the axes


class PyramidGenerator(nn.Module):
    """Vectors become a stage of size ``base``; each of the ``kernels`` then makes a finer stage."""

    def __init__(
        self,
        base: tuple[int, ...],
        kernels: list[dict[str, Any]],
        channels: int,
        latent_dim: int,
        width: int,
        num_classes: int,
        norm: Normalization,
    ):
        super().__init__()
        first, up = UP[len(base)]
        widths = stage_widths(width, len(kernels))
        self.latents = LabelledLatents(latent_dim, num_classes)
        layers: list[nn.Module] = [first(self.latents.dim, widths[0], base, bias=False)]
        for coarse, fine, kernel in zip(widths, widths[1:] + [channels], kernels, strict=True):
            layers += [normalization(norm, coarse, len(base)), nn.ReLU(inplace=True)]
            layers += [up(coarse, fine, **kernel, bias=False)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.apply(initialize_normally)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(self.latents(latents, labels))


class PyramidDiscriminator(BaseDiscriminator):
    """The mirror image of ``PyramidGenerator``: the features are the stage of size ``base``, flattened."""

    def __init__(
        self,
        base: tuple[int, ...],
        kernels: list[dict[str, Any]],
        channels: int,
        width: int,
        num_classes: int,
        norm: Normalization,
        minibatch_stddev: int,
    ):
        widths = stage_widths(width, len(kernels))[::-1]
        super().__init__(widths[-1] * math.prod(base), num_classes, minibatch_stddev)
        down = nn.Conv2d if len(base) == 2 else nn.Conv3d
        layers: list[nn.Module] = []
        for fine, coarse, kernel in zip([channels, *widths[:-1]], widths, kernels[::-1], strict=True):
            norms = [normalization(norm, coarse, len(base))] if layers else []
            layers += [down(fine, coarse, **kernel, bias=False), *norms, nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        initialize_discriminator_normally(self)


class Generator(PyramidGenerator):
    """Latents (batch, latent_dim), labels (batch,) -> images (batch, channels, image_size, image_size) in [-1, 1].

    At 64 pixels, width 64 and 100 latents: 3,576,704 parameters, as PyTorch's DCGAN example.

    Args:
        image_size, channels, latent_dim, num_classes: see ``arguments``.
        width: channels of the finest stage.
        norm: normalisation after every hidden layer.
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        latent_dim: Width = 100,
        width: Width = 64,
        num_classes: Classes = 0,
        norm: Normalization = "batch",
    ):
        base, n = halvings(image_size)
        super().__init__((base, base), [KERNEL] * n, channels, latent_dim, width, num_classes, norm)


class Discriminator(PyramidDiscriminator):
    """Images (batch, channels, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    At 64 pixels and width 64: 2,765,568 weights, as PyTorch's DCGAN example, and one bias.

    Args:
        image_size, channels, num_classes, minibatch_stddev: see ``arguments``.
        width: channels of the finest stage.
        norm: normalisation after every hidden layer but the first. ``batch`` couples the examples of a batch, which a
            gradient penalty assumes it does not: choose ``layer`` with it (Gulrajani et al. 2017, section 4).
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        width: Width = 64,
        num_classes: Classes = 0,
        norm: Normalization = "batch",
        minibatch_stddev: Group = 0,
    ):
        base, n = halvings(image_size)
        super().__init__((base, base), [KERNEL] * n, channels, width, num_classes, norm, minibatch_stddev)
