"""R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN!", section 4): any size b * 2**n with 4 <= b <= 7.

Residual blocks of grouped convolutions, without normalisation; the discriminator is the generator in reverse. Widths,
groups and initialisation are those of the published code. Its resampling filter is [1, 2, 1], which the [1, 1] of each
doubling or halving makes [1, 3, 3, 1].
"""

import torch
from torch import Tensor, nn

from sparring.networks.arguments import Classes, Group, Width
from sparring.networks.base_discriminator import BaseDiscriminator
from sparring.networks.resampling import Filter, pyramid

BLOCKS = 2  # of a stage


Layer = nn.Conv2d | nn.Linear | nn.Embedding


def with_normal_weights(layer: Layer, fan_in: int, gain: float = 1.0) -> Layer:
    """Draw the layer's weights from N(0, gain^2 / fan_in) and set its biases to zero."""
    nn.init.normal_(layer.weight, std=gain * fan_in**-0.5)
    if not isinstance(layer, nn.Embedding) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def pointwise(fan_in: int, fan_out: int) -> nn.Module:
    return with_normal_weights(nn.Conv2d(fan_in, fan_out, 1, bias=False), fan_in)


class ResidualBlock(nn.Module):
    """x + 1x1 to twice the channels, grouped 3x3, 1x1 back, with bias and leaky ReLU (0.2) after the first two.

    Starts as the identity: the last weights are zero, the others from N(0, g^2 / fan_in) with g = sqrt(2 / 1.04) times
    L^(-1/4) for L blocks in the network (Fixup, Zhang et al. 2019).

    Args:
        width: channels of x (batch, width, H, W).
        group_size: channels in a group of the 3x3 convolution, at most 2 * width.
        blocks: L.
    """

    def __init__(self, width: int, group_size: int, blocks: int):
        super().__init__()
        inner = 2 * width
        group_size = min(group_size, inner)
        if inner % group_size:
            raise ValueError(f"group_size={group_size}: must divide twice the width of every stage, here 2 * {width}")
        gain = (2 / 1.04) ** 0.5 * blocks**-0.25
        self.layers = nn.Sequential(
            with_normal_weights(nn.Conv2d(width, inner, 1), width, gain),
            nn.LeakyReLU(0.2, inplace=True),
            with_normal_weights(
                nn.Conv2d(inner, inner, 3, padding=1, groups=inner // group_size), group_size * 9, gain
            ),
            nn.LeakyReLU(0.2, inplace=True),
            with_normal_weights(nn.Conv2d(inner, width, 1, bias=False), inner, 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Generator(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> images (batch, channels, image_size, image_size), unbounded.

    A learned basis (width, b, b) times a linear map of the latents and the label's embedding, which are equally long;
    then two blocks a stage.

    Args:
        image_size, channels, latent_dim, num_classes: see ``arguments``.
        width: channels of the coarse stages: 768, 1536 for ImageNet.
        group_size: channels in a group of the 3x3 convolutions: 16, so 96 groups at width 768; 32 for ImageNet.
        halve_above: the largest size with the full width: 32, 64 for ImageNet.
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        latent_dim: Width = 64,
        width: Width = 768,
        num_classes: Classes = 0,
        group_size: Width = 16,
        halve_above: Width = 32,
    ):
        super().__init__()
        stages = pyramid(image_size, width, halve_above)
        self.embedding = (
            with_normal_weights(nn.Embedding(num_classes, latent_dim), num_classes) if num_classes else None
        )
        dim = 2 * latent_dim if num_classes else latent_dim
        self.linear = with_normal_weights(nn.Linear(dim, width, bias=False), dim)
        self.basis = nn.Parameter(torch.randn(width, stages[0][0], stages[0][0]))
        layers: list[nn.Module] = []
        for size, fine in stages:
            if size > stages[0][0]:
                layers += [pointwise(width, fine)] if fine != width else []
                layers += [Filter("up")]
            layers += [ResidualBlock(fine, group_size, BLOCKS * len(stages)) for _ in range(BLOCKS)]
            width = fine
        self.layers = nn.Sequential(*layers, pointwise(width, channels))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            latents = torch.cat([latents, self.embedding(labels)], dim=1)
        return self.layers(self.linear(latents)[:, :, None, None] * self.basis)


class LabelHead(nn.Module):
    """Logits (batch,) from features (batch, dim): linear, or the dot product with the label's vector (batch, width)."""

    def __init__(self, dim: int, width: int, num_classes: int):
        super().__init__()
        self.linear = with_normal_weights(nn.Linear(dim, width if num_classes else 1, bias=False), dim)
        self.embedding = None
        if num_classes:
            self.embedding = with_normal_weights(nn.Embedding(num_classes, width), num_classes, width**-0.5)

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        values = self.linear(features)
        return values.squeeze(1) if self.embedding is None else (values * self.embedding(labels)).sum(1)


class Discriminator(BaseDiscriminator):
    """Images (batch, channels, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    Args:
        image_size, channels, num_classes: see ``arguments``.
        width: channels of the coarse stages: 768, 1536 for ImageNet.
        group_size: channels in a group of the 3x3 convolutions.
        halve_above: the largest size with the full width.
        minibatch_stddev: group size of ``MinibatchStddev``, 0 for none, as published.
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        width: Width = 768,
        num_classes: Classes = 0,
        group_size: Width = 16,
        halve_above: Width = 32,
        minibatch_stddev: Group = 0,
    ):
        stages = pyramid(image_size, width, halve_above)[::-1]
        super().__init__(width, minibatch_stddev=minibatch_stddev)
        self.head = LabelHead(width + bool(minibatch_stddev), width, num_classes)
        layers: list[nn.Module] = [pointwise(channels, stages[0][1])]
        for (_, fine), (_, coarse) in zip(stages, stages[1:] + stages[-1:], strict=True):
            layers += [ResidualBlock(fine, group_size, BLOCKS * len(stages)) for _ in range(BLOCKS)]
            layers += [Filter("down")]
            layers += [pointwise(fine, coarse)] if fine != coarse else []
        layers.pop()  # nothing is halved after the coarsest stage
        self.layers = nn.Sequential(*layers)
        base = stages[-1][0]
        self.basis = nn.Parameter(torch.randn(width, base, base) / base)

    def features(self, images: Tensor) -> Tensor:
        return (self.layers(images) * self.basis).sum((2, 3))
