"""What the network families share: sizes, labels, initialisation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


def halvings(image_size: int) -> tuple[int, int]:
    """(b, n) with image_size = b * 2**n and 4 <= b <= 7: where a pyramid of factors of two starts.

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
        nearest = " or ".join(str(size) for size in below + above) + (
            " (points: model=points, text: model=text, sounds: model=wavegan)" if image_size == 1 else ""
        )
        raise ValueError(f"image_size={image_size}: must be 4, 5, 6 or 7 times a power of two; the nearest: {nearest}")
    return base, n


class LabelledLatents(nn.Module):
    """Joins latents (batch, latent_dim) with a learned embedding of the labels (batch,), if there are classes.

    The embedding has a number a class (at most 128) and starts at length 1, as a one-hot code has: one that is as long
    as the latents drowns them, and every class collapses to one image. Result: (batch, ``dim``).
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


class ProjectionHead(nn.Module):
    """Logits (batch,) from features (batch, dim): linear, plus the label's own direction (Miyato & Koyama 2018, eq. 3).

    Without classes it is a linear layer.
    """

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.linear = nn.Linear(dim, 1)
        self.embedding = nn.Embedding(num_classes, dim) if num_classes else None

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        logits = self.linear(features).squeeze(1)
        if self.embedding is not None:
            logits = logits + (self.embedding(labels) * features).sum(1)
        return logits


class BaseDiscriminator(nn.Module, ABC):
    """Images (batch, channels, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    A family's discriminator defines ``features``; the head on them is the same for all, so that whatever is built on a
    discriminator's features (feature matching, the class head of ACGAN, the codes of InfoGAN) goes with every family.

    Args:
        feature_dim: length of the features.
        num_classes: number of labels, 0 for an unconditional network.
        minibatch_stddev: size of the groups whose standard deviation is one more feature (``MinibatchStddev``), 0 for none.
    """

    def __init__(self, feature_dim: int, num_classes: int = 0, minibatch_stddev: int = 0):
        super().__init__()
        self.feature_dim = feature_dim
        self.stddev = MinibatchStddev(minibatch_stddev) if minibatch_stddev else nn.Identity()
        self.head = ProjectionHead(feature_dim + bool(minibatch_stddev), num_classes)

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """What the logits are read from, (batch, ``feature_dim``)."""

    def verdict(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (batch,) of features (batch, ``feature_dim``)."""
        return self.head(self.stddev(features), labels)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.verdict(self.features(images), labels)


class MinibatchStddev(nn.Module):
    """Appends to examples (batch, C, ...) a channel that tells how much the examples of their group differ.

    The standard deviation of every number over the group, averaged to one (Karras et al. 2018, section 3): a generator
    that makes the same image twice is found out. Groups have ``group`` examples, or the largest divisor of the batch below that.
    """

    def __init__(self, group: int = 4):
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        size = next(size for size in range(min(self.group, len(x)), 0, -1) if len(x) % size == 0)
        groups = x.view(size, -1, *x.shape[1:])  # as in the published code: example i with i + batch/size ...
        spread = (groups.var(0, correction=0) + 1e-8).sqrt().flatten(1).mean(1)  # (batch/size,)
        channel = spread.repeat(size).view(-1, *[1] * (x.ndim - 1)).expand(-1, 1, *x.shape[2:])
        return torch.cat([x, channel.to(x.dtype)], dim=1)


class Several(nn.Module):
    """Discriminators side by side: logits (batch, discriminators), features one after the other."""

    def __init__(self, discriminators: Sequence[nn.Module]):
        super().__init__()
        self.each = nn.ModuleList(discriminators)

    @property
    def feature_dim(self) -> int:
        return sum(network.feature_dim for network in self.each)

    def features(self, images: Tensor) -> Tensor:
        return torch.cat([network.features(images) for network in self.each], dim=1)

    def verdict(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        parts = features.split([network.feature_dim for network in self.each], dim=1)
        verdicts = [network.verdict(part, labels) for network, part in zip(self.each, parts, strict=True)]
        return torch.stack(verdicts, dim=1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.stack([network(images, labels) for network in self.each], dim=1)


class ConditionalBatchNorm(nn.Module):
    """Batch norm of x (batch, channels, H, W) whose gains 1 + gain(y) and shifts bias(y) depend on a condition y.

    (de Vries et al. 2017, Modulating early visual processing by language; Dumoulin et al. 2017.)

    Args:
        channels: of x.
        embed: makes, for a number of channels, the module of the gains and that of the shifts: an embedding of labels
            (batch,) or a linear layer for vectors (batch, dim). None: learned gains and shifts, whatever the condition.
        eps: added to the variance.
    """

    def __init__(self, channels: int, embed: Callable[[int], nn.Module] | None = None, eps: float = 1e-5):
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
    """x + gamma * o(softmax(q k^T) v), x (batch, channels, H, W): every place looks at all others (Zhang et al. 2019, SAGAN).

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
        seen = values @ attention.transpose(1, 2)
        return x + self.gamma * self.out(seen.unflatten(2, x.shape[2:]))


def channels_last(network: nn.Module) -> nn.Module:
    """Lay the weights of convolutions over two and over three axes as these like them."""
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    return network._apply(lambda t: t.to(memory_format=orders[t.ndim]) if t.ndim in orders else t)


def initialize_orthogonally(module: nn.Module) -> None:
    """Orthogonal weights (Saxe et al. 2014) and no bias for convolutions and linear layers, orthogonal embeddings."""
    if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
        nn.init.orthogonal_(module.weight)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def normalize_spectrally(network: nn.Module) -> nn.Module:
    """Divide every weight matrix by its largest singular value, by one power iteration a pass (Miyato et al. 2018).

    Convolutions, linear layers and embeddings; those that are normalised already are left alone.

    Raises:
        ValueError: there are none (StyleGAN2 has layers of its own), or weights start at zero, which has no direction.
    """
    weighty = [m for m in network.modules() if isinstance(m, nn.modules.conv._ConvNd | nn.Linear | nn.Embedding)]
    if not weighty:
        raise ValueError("spectral_norm: the discriminator has no convolution, linear layer or embedding of PyTorch's")
    for module in weighty:
        if parametrize.is_parametrized(module, "weight") or module.weight.is_meta:
            continue  # weights without values, which are only counted, have no norm
        if not module.weight.any():
            raise ValueError("spectral_norm: weights of the discriminator start at zero, which no norm can divide")
        spectral_norm(module)
    return network


def normalization(kind: str, channels: int, axes: int = 2) -> nn.Module:
    """A normalisation layer for (batch, channels, H, W), or another number of ``axes`` after the channels: ``batch``,
    ``instance``, ``layer`` or ``none``.
    """
    layers = {
        "batch": lambda: getattr(nn, f"BatchNorm{axes}d")(channels),
        "instance": lambda: getattr(nn, f"InstanceNorm{axes}d")(channels, affine=True),
        "layer": lambda: nn.GroupNorm(1, channels),
        "none": nn.Identity,
    }
    return layers[kind]()
