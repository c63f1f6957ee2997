"""Regularizers of weights, whatever the data."""

from collections.abc import Iterator
from functools import reduce
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from sparring.regularizers.base import Regularizer, Turn


class WeightClipping(Regularizer):
    """Every weight of the discriminator is clamped to [-limit, limit] after its update (Arjovsky et al. 2017, WGAN)."""

    def __init__(self, limit: PositiveFloat = 0.01):
        super().__init__()
        self.limit = limit

    def after(self, turn: Turn) -> None:
        weights: list[Tensor] = [weight for network in turn.networks for weight in network.parameters()]
        torch._foreach_clamp_min_(weights, -self.limit)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_clamp_max_(weights, self.limit)  # pyright: ignore[reportPrivateImportUsage]


class Orthogonal(Regularizer):
    """|W W^T o (1 - I)|^2 / 2, summed over weight matrices (Brock et al. 2019, BigGAN, eq. 3).

    The rows of W are what makes one output channel each, as in the published code, whose gradient is that of this half;
    the paper writes the whole square. The weights of all layers are such matrices except embeddings; of a spectrally
    normalised layer the raw weight counts, as there.

    Args:
        weight: beta.
        player: whose weights.
        options: those of ``Regularizer``.
    """

    def __init__(
        self,
        weight: NonNegativeFloat = 1e-4,
        player: Literal["generator", "discriminator"] = "generator",
        **options: Any,
    ):
        super().__init__(weight, **options)
        self.player = player

    def forward(self, turn: Turn) -> Tensor:
        matrices = [matrix for network in turn.networks for matrix in weight_matrices(network)]
        with torch.autocast(matrices[0].device.type, enabled=False):
            return reduce(torch.add, [self._overlap(matrix) for matrix in matrices]) / 2

    @staticmethod
    def _overlap(matrix: Tensor) -> Tensor:
        products = matrix @ matrix.T
        return (products - products.diag().diag()).square().sum()


def weight_matrices(network: nn.Module) -> Iterator[Tensor]:
    """Yield the network's weights as matrices (output channels, numbers of each), without those of embeddings."""
    weights = {p for name, p in network.named_parameters() if "weight" in name}  # "...weight.original", too
    kinds = {p: type(module) for module in network.modules() for p in module.parameters(recurse=False) if p in weights}
    for module in network.modules():
        if isinstance(module, nn.Embedding | nn.modules.conv._ConvTransposeNd):
            kinds |= dict.fromkeys(module.parameters(), type(module))  # a parametrisation's are further down
    for parameter, kind in kinds.items():
        if parameter.ndim > 1 and not issubclass(kind, nn.Embedding):
            transposed = issubclass(kind, nn.modules.conv._ConvTransposeNd)  # whose output channels come second
            yield (parameter.transpose(0, 1) if transposed else parameter).flatten(1)
