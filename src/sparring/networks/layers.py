"""Layers that several network families share, and how their weights start."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

Normalization = Literal["batch", "instance", "layer", "none"]


def halvings(image_size: int) -> tuple[int, int]:
    """Return (b, n) with image_size = b * 2**n and 4 <= b <= 7: where a pyramid of factors of two starts.

    Raises:
        ValueError: for a size that is not of that form, naming the nearest that are.
    """
    base, n = image_size, 0
    while base > 7 and base % 2 == 0:
        base, n = base // 2, n + 1
    if not 4 <= base <= 7 or n == 0:
        sizes = sorted(b * 2**k for b in range(4, 8) for k in range(1, 10))
        below = [size for size in sizes if size < image_size][-1:]
        above = [size for size in sizes if size > image_size][:1]
        nearest = " or ".join(map(str, below + above))
        other = " (points: model=points, text: model=text, sounds: model=wavegan)" if image_size == 1 else ""
        raise ValueError(
            f"image_size={image_size}: must be 4, 5, 6 or 7 times a power of two; the nearest: {nearest}{other}"
        )
    return base, n


class LabelledLatents(nn.Module):
    """Join latents (batch, latent_dim) with a learned embedding of the labels (batch,), if there are classes.

    The embedding has a number a class (at most 128) and starts at length 1, like a one-hot code: an embedding as long
    as the latents outweighs them, and every class collapses to one image. The result is (batch, ``dim``).
    """

    def __init__(self, latent_dim: int, num_classes: int):
        super().__init__()
        label_dim = min(num_classes, 128)
        self.embedding = nn.Embedding(num_classes, label_dim) if num_classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=label_dim**-0.5)
        self.dim = latent_dim + label_dim

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        if self.embedding is None:
            return latents
        return torch.cat([latents, self.embedding(labels)], dim=1)


class ConditionalBatchNorm(nn.Module):
    """Batch norm of x (batch, channels, H, W) whose gains 1 + gain(y) and shifts bias(y) depend on a condition y.

    (de Vries et al. 2017, Modulating early visual processing by language; Dumoulin et al. 2017.)

    Args:
        channels: of x.
        embed: makes, for a number of channels, the module of the gains and that of the shifts: an embedding of labels
            (batch,) or a linear layer for vectors (batch, dim). None: learned gains and shifts, whatever the condition.
        eps: added to the variance.
    """

    def __init__(
        self, channels: int, embed: Callable[[int], nn.Embedding | nn.Linear] | None = None, eps: float = 1e-5
    ):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps, affine=embed is None)
        self.gain = embed(channels) if embed else None
        self.bias = embed(channels) if embed else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.norm(x)
        if self.gain is None or self.bias is None:
            return x
        return (1 + self.gain(condition)[:, :, None, None]) * x + self.bias(condition)[:, :, None, None]


class SelfAttention(nn.Module):
    """x + gamma * o(softmax(q k^T) v), x (batch, channels, H, W): self-attention (Zhang et al. 2019, SAGAN).

    q, k (channels / 8 numbers each), v (channels / 2) and o are convolutions of size 1 without bias; gamma starts at 0.
    As in the authors' code, k and v are max-pooled by two; equations 1 and 2 of the paper do without, and give v
    channels / 8 numbers. Written out, since fused attention has no second derivative, which gradient penalties take.
    """

    def __init__(self, channels: int):
        super().__init__()
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query, self.key = (nn.Conv2d(channels, narrow, 1, bias=False) for _ in range(2))
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.out = nn.Conv2d(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        pool = nn.functional.max_pool2d
        queries = self.query(x).flatten(2)  # (batch, channels / 8, H * W)
        keys, values = pool(self.key(x), 2).flatten(2), pool(self.value(x), 2).flatten(2)
        attention = (queries.transpose(1, 2) @ keys).softmax(2)  # (batch, H * W, H * W / 4)
        return x + self.gamma * self.out((values @ attention.transpose(1, 2)).unflatten(2, x.shape[2:]))


def normalization(kind: Normalization, channels: int, axes: int = 2, instance_gains: bool = True) -> nn.Module:
    """Return a normalisation layer for (batch, channels, ...).

    Args:
        kind: batch, instance, layer or none.
        channels: of its input.
        axes: after the channels: 1 for sounds, 2 for images, 3 for volumes.
        instance_gains: instance norm has learned gains and shifts. pix2pix's and CycleGAN's PyTorch code has none,
            their first code, in Lua, learned them.
    """
    layers: dict[str, Callable[[], nn.Module]] = {
        "batch": lambda: getattr(nn, f"BatchNorm{axes}d")(channels),
        "instance": lambda: getattr(nn, f"InstanceNorm{axes}d")(channels, affine=instance_gains),
        "layer": lambda: nn.GroupNorm(1, channels),
        "none": nn.Identity,
    }
    return layers[kind]()


def padded(images: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Pad images (batch, C, H, W) at the right and the bottom until ``multiple`` divides H and W, ``least`` or more.

    By mirroring, or where the image is too small for that, by repeating its last column or row.
    """
    height, width = images.shape[-2:]
    right, bottom = (max(-size % multiple, least - size) for size in (width, height))
    if right:
        images = pad(images, (0, right, 0, 0), "reflect" if right < width else "replicate")
    if bottom:
        images = pad(images, (0, 0, 0, bottom), "reflect" if bottom < height else "replicate")
    return images


def channels_last(network: nn.Module) -> nn.Module:
    """Put the weights of convolutions over two and three axes in the memory order that is fastest for them."""
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    return network._apply(lambda t: t.to(memory_format=orders[t.ndim]) if t.ndim in orders else t)


def initialize_normally(module: nn.Module) -> None:
    """N(0, 0.02) for weights, N(1, 0.02) for normalisation gains, as the authors of DCGAN, pix2pix and CycleGAN do.

    Biases start at 0; embeddings of labels keep their own scale.
    """
    if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.modules.batchnorm._NormBase | nn.GroupNorm) and module.weight is not None:
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def initialize_discriminator_normally(discriminator: nn.Module) -> None:
    """``initialize_normally`` for all layers, and N(0, 0.02) for the label's directions of the head."""
    discriminator.apply(initialize_normally)
    head: Any = discriminator.head
    if head.embedding is not None:
        nn.init.normal_(head.embedding.weight, 0.0, 0.02)


def initialize_orthogonally(module: nn.Module) -> None:
    """Orthogonal weights (Saxe et al. 2014) and no bias for convolutions and linear layers, orthogonal embeddings."""
    if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
        nn.init.orthogonal_(module.weight)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def normalize_spectrally(network: nn.Module) -> nn.Module:
    """Divide every weight matrix by its largest singular value, by one power iteration a pass (Miyato et al. 2018).

    Convolutions, linear layers and embeddings; layers that are normalised already are left alone.

    Raises:
        ValueError: there are none (StyleGAN2 has layers of its own), or weights start at zero, which has no direction.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.modules.conv._ConvNd | nn.Linear | nn.Embedding)]
    if not layers:
        raise ValueError("spectral_norm: the discriminator has no convolution, linear layer or embedding of PyTorch's")
    for layer in layers:
        if parametrize.is_parametrized(layer, "weight") or layer.weight.is_meta:
            continue  # meta weights, which only count parameters, have no values
        if not layer.weight.any():
            raise ValueError("spectral_norm: weights of the discriminator start at zero, which no norm can divide")
        spectral_norm(layer)
    return network
