"""Regularizers of weights, whatever the data."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from sparring.games.turn import Turn
from sparring.regularizers.base import Regularizer, Schedule


class WeightClipping(Regularizer):
    """Every weight of the discriminator is clamped to [-limit, limit] after its update (Arjovsky et al. 2017, WGAN)."""

    def __init__(self, limit: float = 0.01):
        super().__init__()
        if limit <= 0:
            raise ValueError(f"limit={limit}: weights are clamped to [-limit, limit], so it must be positive")
        self.limit = limit

    def after(self, turn: Turn) -> None:
        weights = [weight for network in turn.game.players[self.player] for weight in network.parameters()]
        torch._foreach_clamp_min_(weights, -self.limit)
        torch._foreach_clamp_max_(weights, self.limit)


class Orthogonal(Regularizer):
    """|W W^T o (1 - I)|^2 / 2, summed over weight matrices (Brock et al. 2019, BigGAN, eq. 3).

    The rows of W are what makes one output channel each, as in the published code, whose gradient is that of this half;
    the paper writes the whole square. The weights of all layers are such matrices except embeddings; of a spectrally
    normalised layer the raw weight counts, as there.

    Args:
        weight: beta.
        every: iterations between two uses.
        schedule: factor of the weight as a function of kimg.
        player: whose weights.
    """

    def __init__(
        self,
        weight: float = 1e-4,
        every: int = 1,
        schedule: Schedule | None = None,
        player: Literal["generator", "discriminator"] = "generator",
    ):
        super().__init__(weight, every, schedule)
        self.player = player

    def forward(self, turn: Turn) -> Tensor:
        matrices = [matrix for network in turn.game.players[self.player] for matrix in weight_matrices(network)]
        with torch.autocast(matrices[0].device.type, enabled=False):
            return sum(self._overlap(matrix) for matrix in matrices) / 2

    @staticmethod
    def _overlap(matrix: Tensor) -> Tensor:
        products = matrix @ matrix.T
        return (products - products.diag().diag()).square().sum()


def weight_matrices(network: nn.Module) -> Iterator[Tensor]:
    """Parameters as matrices (output channels, numbers of each), those of embeddings left out."""
    weights = (
        name.rpartition("weight")[1] and p for name, p in network.named_parameters()
    )  # "...weight.original", too
    named = {p for p in weights if isinstance(p, nn.Parameter)}
    kinds = {p: type(module) for module in network.modules() for p in module.parameters(recurse=False) if p in named}
    for module in network.modules():
        if isinstance(module, nn.Embedding | nn.modules.conv._ConvTransposeNd):
            kinds |= dict.fromkeys(module.parameters(), type(module))  # a parametrisation's are further down
    for parameter, kind in kinds.items():
        if parameter.ndim > 1 and not issubclass(kind, nn.Embedding):
            transposed = issubclass(kind, nn.modules.conv._ConvTransposeNd)  # whose output channels come second
            yield (parameter.transpose(0, 1) if transposed else parameter).flatten(1)
