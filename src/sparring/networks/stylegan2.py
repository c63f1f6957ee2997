"""StyleGAN2 (Karras et al. 2020), with labels as in StyleGAN2-ADA: any size b * 2**n with 4 <= b <= 7, plain PyTorch.

Weights start at N(0, 1) and are divided by the square root of their fan-in in every pass (equalized learning rate), so
that Adam changes all layers alike. Linear layers, demodulation and the sum of images stay in float32 under autocast.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.networks.arguments import Classes, Depth, Group, Width
from sparring.networks.base_discriminator import BaseDiscriminator, MinibatchStddev
from sparring.networks.resampling import Filter, pyramid

Architecture = Literal["residual", "skip", "orig"]


def activated(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, times sqrt(2) to keep the second moment."""
    return F.leaky_relu(x, 0.2) * 2**0.5


def normalized(x: Tensor) -> Tensor:
    """Vectors (batch, dim) divided by their root mean square."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class EqualLinear(nn.Module):
    """Linear layer with equalized learning rate, in float32; ``lr`` slows it further (Karras et al. 2019)."""

    def __init__(self, fan_in: int, fan_out: int, bias: float = 0.0, lr: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / lr)
        self.bias = nn.Parameter(torch.full((fan_out,), bias))
        self.gain, self.lr = lr * fan_in**-0.5, lr

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.to(self.weight.dtype), self.weight * self.gain, self.bias * self.lr)


class EqualConv(nn.Module):
    """Convolution with equalized learning rate, of odd kernel size, that may halve the image."""

    def __init__(self, fan_in: int, fan_out: int, kernel_size: int, bias: bool = True, down: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None
        self.gain = (fan_in * kernel_size**2) ** -0.5
        self.padding = kernel_size // 2
        self.filter = None
        if down:  # a 1x1 convolution comes after the halving, a larger one halves what was blurred
            self.filter = Filter("down") if kernel_size == 1 else Filter("blur", padding=1 + self.padding)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.gain
        if self.filter is None:
            return F.conv2d(x, weight, self.bias, padding=self.padding)
        return F.conv2d(self.filter(x), weight, self.bias, stride=1 if self.padding == 0 else 2)


class Mapping(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> styles w (batch, w_dim), through fully connected layers.

    Both are divided by their root mean square, the labels after a linear embedding of length ``w_dim``, and joined.
    Without latents (``latent_dim=0``) it maps the labels alone, for the discriminator.
    """

    def __init__(self, latent_dim: int, num_classes: int, w_dim: int, layers: int):
        super().__init__()
        self.num_classes = num_classes
        self.embedding = EqualLinear(num_classes, w_dim) if num_classes else None
        dims = [latent_dim + (w_dim if num_classes else 0)] + [w_dim] * layers
        self.layers = nn.ModuleList(EqualLinear(a, b, lr=0.01) for a, b in zip(dims, dims[1:], strict=False))

    def forward(self, latents: Tensor | None, labels: Tensor | None) -> Tensor:
        parts = [] if latents is None else [normalized(latents)]
        if self.embedding is not None and labels is not None:
            parts.append(normalized(self.embedding(F.one_hot(labels, self.num_classes))))
        x = torch.cat(parts, dim=1)
        for layer in self.layers:
            x = activated(layer(x))
        return x


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style, and whose outputs are scaled back to unit variance.

    For the example with style s the weights are s_i w_oik / sqrt(sum_ik (s_i w_oik)^2) (Karras et al. 2020, eqs. 1 and
    3). Scaling the activations before and after a convolution that all examples share is the same (section 2.2).

    Args:
        fan_in: channels of x (batch, fan_in, H, W).
        fan_out: channels of the result.
        w_dim: length of w (batch, w_dim), from which the style is computed.
        kernel_size: odd.
        demodulate: scale back (eq. 3).
        up: double the size of the image.
    """

    def __init__(
        self, fan_in: int, fan_out: int, w_dim: int, kernel_size: int, demodulate: bool = True, up: bool = False
    ):
        super().__init__()
        self.affine = EqualLinear(w_dim, fan_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, kernel_size, kernel_size))
        self.gain = (fan_in * kernel_size**2) ** -0.5
        self.padding = kernel_size // 2
        self.demodulate = demodulate
        self.filter = Filter("blur", gain=4) if up else None

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style, weight = self.affine(w), self.weight * self.gain
        y = x * style[:, :, None, None].to(x.dtype)
        if self.filter is None:
            y = F.conv2d(y, weight, padding=self.padding)
        else:
            y = self.filter(F.conv_transpose2d(y, weight.transpose(0, 1), stride=2))
        if self.demodulate:
            with torch.autocast(x.device.type, enabled=False):
                power = style.square() @ weight.square().sum((2, 3)).T  # (batch, fan_out)
            y = y * (power + 1e-8).rsqrt()[:, :, None, None].to(y.dtype)
        return y


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise (fixed in evaluation, where published scores draw anew), bias, activation."""

    noise: Tensor

    def __init__(self, fan_in: int, fan_out: int, w_dim: int, size: int, up: bool = False):
        super().__init__()
        self.convolution = ModulatedConv(fan_in, fan_out, w_dim, 3, up=up)
        self.register_buffer("noise", torch.randn(size, size))
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = self.convolution(x, w)
        noise = torch.randn_like(y[:, :1]) if self.training else self.noise.to(y.dtype)
        return activated(y + noise * self.strength + self.bias[:, None, None].to(y.dtype))


class Synthesis(nn.Module):
    """Styles w (batch, layers, w_dim) -> images (batch, channels, image_size, image_size).

    From a learned constant every stage doubles the size and adds to the image so far, doubled too (skip generator).
    Of the ``layers`` styles, stage k takes the (2k-1)th, 2kth and, for its image, the (2k+1)th, counted from 0.
    """

    def __init__(self, stages: list[tuple[int, int]], channels: int, w_dim: int):
        super().__init__()
        (base, width), *finer = stages
        self.layers = 2 * len(stages)
        self.constant = nn.Parameter(torch.randn(1, width, base, base))
        convolutions = [StyledConv(width, width, w_dim, base)]
        for size, fine in finer:
            convolutions += [StyledConv(width, fine, w_dim, size, up=True), StyledConv(fine, fine, w_dim, size)]
            width = fine
        self.convolutions = nn.ModuleList(convolutions)
        self.to_image = nn.ModuleList(ModulatedConv(fine, channels, w_dim, 1, demodulate=False) for _, fine in stages)
        self.biases = nn.Parameter(torch.zeros(len(stages), channels, 1, 1))
        self.up = Filter("up")

    def forward(self, w: Tensor) -> Tensor:
        x = self.convolutions[0](self.constant.expand(len(w), -1, -1, -1), w[:, 0])
        image = self.to_image[0](x, w[:, 1]) + self.biases[0]
        for k in range(1, len(self.to_image)):
            x = self.convolutions[2 * k - 1](x, w[:, 2 * k - 1])
            x = self.convolutions[2 * k](x, w[:, 2 * k])
            image = self.up(image) + self.to_image[k](x, w[:, 2 * k + 1]) + self.biases[k]
        return image


class Generator(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> images (batch, channels, image_size, image_size), unbounded.

    It is ``synthesis(mapping(latents, labels))``, with styles w (batch, layers, width) in between: path lengths count
    every layer, as in the published code.

    Args:
        image_size, channels, latent_dim, num_classes: see ``arguments``.
        width: channels of the coarse stages, and length of a style.
        mapping_layers: 8 in the papers, 2 for StyleGAN2-ADA's CIFAR-10 and ``auto``.
        halve_above: the largest size with the full width: 32, from 512 pixels on 64 (StyleGAN2-ADA).
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        latent_dim: Width = 512,
        width: Width = 512,
        num_classes: Classes = 0,
        mapping_layers: Depth = 8,
        halve_above: Width = 32,
    ):
        super().__init__()
        self.to_style = Mapping(latent_dim, num_classes, width, mapping_layers)
        self.synthesis = Synthesis(pyramid(image_size, width, halve_above), channels, width)

    def mapping(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Styles w (batch, layers, width), the same for every layer."""
        return self.to_style(latents, labels)[:, None].expand(-1, self.synthesis.layers, -1)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.synthesis(self.mapping(latents, labels))


class DiscriminatorBlock(nn.Module):
    """Two 3x3 convolutions, the second halves the image: x (batch, fine, H, W) -> (batch, coarse, H/2, W/2)."""

    def __init__(self, fine: int, coarse: int, residual: bool):
        super().__init__()
        self.convolutions = nn.ModuleList([EqualConv(fine, fine, 3), EqualConv(fine, coarse, 3, down=True)])
        self.shortcut = EqualConv(fine, coarse, 1, bias=False, down=True) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for convolution in self.convolutions:
            y = activated(convolution(y))
        return y if self.shortcut is None else (y + self.shortcut(x)) * 0.5**0.5


class MappedHead(nn.Module):
    """Logits (batch,) from features (batch, dim): linear, or the dot product with the mapped label over sqrt(dim).

    The label goes through a mapping network of 8 layers, whatever G's has (StyleGAN2-ADA's code).
    """

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.linear = EqualLinear(dim, dim if num_classes else 1)
        self.mapping = Mapping(0, num_classes, dim, layers=8) if num_classes else None

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        values = self.linear(features)
        if self.mapping is None:
            return values.squeeze(1)
        return (values * self.mapping(None, labels)).sum(1) * values.shape[1] ** -0.5


class Discriminator(BaseDiscriminator):
    """Images (batch, channels, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    Args:
        image_size, channels, num_classes: see ``arguments``.
        width: channels of the coarse stages.
        architecture: ``residual`` blocks; ``skip``, every stage sees the image at its size; ``orig``, neither, as for
            CIFAR-10 in StyleGAN2-ADA.
        halve_above: the largest size with the full width.
        minibatch_stddev: group size of ``MinibatchStddev``, here a channel of the coarsest stage; 0 for none.
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        width: Width = 512,
        num_classes: Classes = 0,
        architecture: Architecture = "residual",
        halve_above: Width = 32,
        minibatch_stddev: Group = 4,
    ):
        stages = pyramid(image_size, width, halve_above)[::-1]
        super().__init__(width)
        self.head = MappedHead(width, num_classes)
        pairs = list(zip(stages, stages[1:], strict=False))
        shown = stages if architecture == "skip" else stages[:1]
        self.from_image = nn.ModuleList(EqualConv(channels, fine, 1) for _, fine in shown)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(fine, coarse, architecture == "residual") for (_, fine), (_, coarse) in pairs
        )
        self.down = Filter("down")
        self.spread = MinibatchStddev(minibatch_stddev) if minibatch_stddev else nn.Identity()
        self.convolution = EqualConv(width + bool(minibatch_stddev), width, 3)
        self.linear = EqualLinear(width * stages[-1][0] ** 2, width)

    def features(self, images: Tensor) -> Tensor:
        x = activated(self.from_image[0](images))
        for k, block in enumerate(self.blocks, start=1):
            x = block(x)
            if k < len(self.from_image):
                images = self.down(images)
                x = x + activated(self.from_image[k](images))
        return activated(self.linear(activated(self.convolution(self.spread(x))).flatten(1)))
