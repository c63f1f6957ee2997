"""Multi-layer perceptrons, as in the first GANs (Goodfellow et al. 2014) and most introductions."""

from torch import Tensor, nn

from sparring.networks.arguments import Classes, Depth, Dropout, Group, Width
from sparring.networks.base_discriminator import BaseDiscriminator
from sparring.networks.layers import LabelledLatents


class Generator(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> images (batch, channels, image_size, image_size) in [-1, 1].

    Hidden layers of width, 2*width, ... units with LeakyReLU 0.2: 256, 512 and 1024 with the defaults.

    Args:
        channels, latent_dim, num_classes: see ``arguments``.
        image_size: any.
        width: units of the first hidden layer.
        depth: hidden layers, each twice as wide as the one before.
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 1,
        latent_dim: Width = 100,
        width: Width = 256,
        depth: Depth = 3,
        num_classes: Classes = 0,
    ):
        super().__init__()
        self.latents = LabelledLatents(latent_dim, num_classes)
        sizes = [self.latents.dim] + [width * 2**level for level in range(depth)]
        layers: list[nn.Module] = []
        for narrow, wide in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(narrow, wide), nn.LeakyReLU(0.2, inplace=True)]
        shape = (channels, image_size, image_size)
        layers += [nn.Linear(sizes[-1], channels * image_size**2), nn.Tanh(), nn.Unflatten(1, shape)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(self.latents(latents, labels))


class Discriminator(BaseDiscriminator):
    """Images (batch, channels, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    Hidden layers of ..., 2*width, width units with LeakyReLU 0.2 and dropout: 1024, 512 and 256 with the defaults.

    Args:
        channels, num_classes, minibatch_stddev: see ``arguments``.
        image_size: any.
        width: units of the last hidden layer.
        depth: hidden layers, each half as wide as the one before.
        dropout: probability, for each hidden unit.
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 1,
        width: Width = 256,
        depth: Depth = 3,
        dropout: Dropout = 0.3,
        num_classes: Classes = 0,
        minibatch_stddev: Group = 0,
    ):
        super().__init__(width, num_classes, minibatch_stddev)
        sizes = [channels * image_size**2] + [width * 2**level for level in reversed(range(depth))]
        layers: list[nn.Module] = [nn.Flatten()]
        for wide, narrow in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(wide, narrow), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
