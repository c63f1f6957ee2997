"""DCGAN (Radford et al. 2016): a pyramid of strided 4x4 convolutions, for any size b * 2**n with 4 <= b <= 7."""

from typing import Literal

from torch import Tensor, nn

from sparring.networks.layers import BaseDiscriminator, LabelledLatents, halvings, normalization

Normalization = Literal["batch", "instance", "layer", "none"]


def stage_widths(width: int, n: int) -> list[int]:
    """Channels of the n stages from the coarsest to the finest: doubling towards the coarse, at most 8 * width."""
    return [width * min(2**level, 8) for level in reversed(range(n))]


def initialize(module: nn.Module) -> None:
    """N(0, 0.02) for every weight, N(1, 0.02) for normalisation gains, as the paper's authors and PyTorch's example do.

    Embeddings of labels keep their own scale.
    """
    if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.modules.batchnorm._NormBase | nn.GroupNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class FromPoint(nn.ConvTranspose2d):
    """The transposed convolution of one pixel (batch, channels, 1, 1): a matrix product, as which it is much quicker."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.permute(0, 2, 3, 1)  # no copy of what lies in channels-last order, in which the result is
        return (x.flatten(1) @ weight.flatten(1)).unflatten(1, weight.shape[1:]).permute(0, 3, 1, 2)


class Generator(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> images (batch, channels, image_size, image_size) in [-1, 1].

    At 64 pixels, width 64 and 100 latents: 3,576,704 parameters, those of PyTorch's DCGAN example.

    Args:
        image_size: b * 2**n with 4 <= b <= 7.
        channels: 1 or 3, of the images.
        latent_dim: size of the noise vector.
        width: channels of the finest stage.
        num_classes: number of labels, 0 for an unconditional network.
        norm: normalisation after every hidden layer.
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        latent_dim: int = 100,
        width: int = 64,
        num_classes: int = 0,
        norm: Normalization = "batch",
    ):
        super().__init__()
        base, n = halvings(image_size)
        widths = stage_widths(width, n)
        self.latents = LabelledLatents(latent_dim, num_classes)
        layers: list[nn.Module] = [FromPoint(self.latents.dim, widths[0], base, bias=False)]
        for coarse, fine in zip(widths, widths[1:] + [channels], strict=True):
            layers += [normalization(norm, coarse), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1, bias=False)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.apply(initialize)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(self.latents(latents, labels)[:, :, None, None])


class Discriminator(BaseDiscriminator):
    """Images (batch, channels, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    At 64 pixels and width 64: 2,765,568 weights and one bias, those of PyTorch's DCGAN example and the bias.

    Args:
        image_size: b * 2**n with 4 <= b <= 7.
        channels: 1 or 3, of the images.
        width: channels of the finest stage.
        num_classes: number of labels, 0 for an unconditional network.
        norm: normalisation after every hidden layer but the first. ``batch`` couples the examples of a batch, which a
            gradient penalty assumes it does not: choose ``layer`` with it (Gulrajani et al. 2017, section 4).
        minibatch_stddev: group size of one more feature that tells how much a batch varies, 0 for none.
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        width: int = 64,
        num_classes: int = 0,
        norm: Normalization = "batch",
        minibatch_stddev: int = 0,
    ):
        base, n = halvings(image_size)
        widths = stage_widths(width, n)[::-1]
        super().__init__(widths[-1] * base * base, num_classes, minibatch_stddev)
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=1, bias=False)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        for fine, coarse in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(fine, coarse, 4, stride=2, padding=1, bias=False)]
            layers += [normalization(norm, coarse), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.apply(initialize)
        if self.head.embedding is not None:
            nn.init.normal_(self.head.embedding.weight, 0.0, 0.02)

    def features(self, images: Tensor) -> Tensor:
        return self.layers(images)
