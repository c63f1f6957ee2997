"""The residual networks of SNGAN (Miyato et al. 2018), cGAN-PD (Miyato & Koyama 2018) and WGAN-GP, and their blocks.

Up to 32 pixels all stages are equally wide, 4 * width in G and 2 * width in D, and D halves the image twice, as in the
papers' networks for CIFAR-10. Larger images have a pyramid: ``width`` at the finest stage, twice as many channels
at every coarser one, at most 16 times.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import relu

from sparring.networks.arguments import Classes, Group, Width
from sparring.networks.base_discriminator import BaseDiscriminator
from sparring.networks.layers import ConditionalBatchNorm, SelfAttention, halvings, normalize_spectrally

Norm = Callable[[int], nn.Module]
Embed = Callable[[int], nn.Embedding | nn.Linear]
SMALL = 32  # the largest image whose stages are equally wide


class UpBlock(nn.Module):
    """x (batch, coarse, H, W), condition -> (batch, fine, 2H, 2W).

    Norm, ReLU, doubling, convolution, norm, ReLU, convolution, plus a shortcut by a 1x1 convolution, which comes before
    the doubling, where it costs a quarter and gives the same.
    """

    def __init__(self, coarse: int, fine: int, norm: Norm, upsampling: str, attention: bool = False):
        super().__init__()
        self.norms = nn.ModuleList([norm(coarse), norm(fine)])
        self.upsample = nn.Upsample(scale_factor=2, mode=upsampling)
        self.first = nn.Conv2d(coarse, fine, 3, padding=1)
        self.second = nn.Conv2d(fine, fine, 3, padding=1)
        self.shortcut = nn.Conv2d(coarse, fine, 1)
        self.attend = SelfAttention(fine) if attention else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        h = self.first(self.upsample(relu(self.norms[0](x, condition))))
        h = self.second(relu(self.norms[1](h, condition)))
        return self.attend(h + self.upsample(self.shortcut(x)))


class DownBlock(nn.Module):
    """x (batch, fine, H, W) -> (batch, coarse, H/2, W/2), or of the same size if it does not ``halve``.

    ReLU, convolution, ReLU, convolution, pooling. The shortcut starts after the first ReLU, in the papers before it:
    the published scores come from code whose ReLU works in place. The first block, ``entry``, sees images and has no
    first ReLU.
    """

    def __init__(self, fine: int, hidden: int, coarse: int, halve: bool, entry: bool = False, attention: bool = False):
        super().__init__()
        self.enter = nn.Identity() if entry else nn.ReLU()
        self.first = nn.Conv2d(fine, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, coarse, 3, padding=1)
        self.pool = nn.AvgPool2d(2) if halve else nn.Identity()
        self.shortcut = nn.Conv2d(fine, coarse, 1) if halve or fine != coarse else nn.Identity()
        self.attend = SelfAttention(coarse) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        h = self.second(relu(self.first(x)))
        return self.attend(self.pool(h) + self.shortcut(self.pool(x)))


def attended_size(image_size: int, limit: int) -> int:
    """Size of the finest stage of at most ``limit`` pixels, and at most half the image; 0 for a limit of 0."""
    size = image_size // 2
    while size > limit:
        size //= 2
    return size


class Ascent(nn.Module):
    """Vectors (batch, dim), a condition for each block -> images (batch, channels, image_size, image_size) in [-1, 1].

    Args:
        dim: of the vectors, from which a linear layer makes the coarsest stage of 4 to 7 pixels.
        image_size, channels: of the images.
        width: see the module.
        embeds: for each block, how its condition becomes gains and shifts (``ConditionalBatchNorm``).
        upsampling: how a block doubles the size, nearest or bilinear.
        eps: of the batch norms.
        attention: largest size of the stage with self-attention, 0 for none.
    """

    def __init__(
        self,
        dim: int,
        image_size: int,
        channels: int,
        width: int,
        embeds: Sequence[Embed | None],
        upsampling: str = "nearest",
        eps: float = 1e-5,
        attention: int = 0,
    ):
        super().__init__()
        self.base, n = halvings(image_size)
        widths = [4 * width if image_size <= SMALL else width * min(2**level, 16) for level in reversed(range(n + 1))]
        attended = attended_size(image_size, attention)
        self.linear = nn.Linear(dim, widths[0] * self.base**2)
        self.blocks = nn.ModuleList()
        for stage, ((coarse, fine), embed) in enumerate(zip(pairwise(widths), embeds, strict=True), 1):
            norm = partial(ConditionalBatchNorm, embed=embed, eps=eps)
            self.blocks.append(UpBlock(coarse, fine, norm, upsampling, self.base * 2**stage == attended))
        last = nn.Conv2d(widths[-1], channels, 3, padding=1)
        self.out = nn.Sequential(nn.BatchNorm2d(widths[-1], eps), nn.ReLU(), last, nn.Tanh())

    def forward(self, vectors: Tensor, conditions: Sequence[Tensor | None]) -> Tensor:
        x = self.linear(vectors).view(len(vectors), -1, self.base, self.base)
        for block, condition in zip(self.blocks, conditions, strict=True):
            x = block(x, condition)
        return self.out(x)


class Descent(nn.Module):
    """Images (batch, channels, image_size, image_size) -> features (batch, dim), pooled over H and W.

    Args:
        image_size, channels: of the images.
        width: see the module.
        wide: the first convolution of a block widens, and images are halved to 4 to 7 pixels (SAGAN, BigGAN); else the
            second one widens, and images are halved up to five times (SNGAN's code).
        attention: largest size of the stage with self-attention, 0 for none.
        pooling: sum or mean.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        width: int,
        wide: bool,
        attention: int = 0,
        pooling: str = "sum",
    ):
        super().__init__()
        _, n = halvings(image_size)
        if image_size <= SMALL:
            widths, most = [2 * width] * 4, 2
        else:
            widths, most = [width * min(2**level, 16) for level in range(max(n + 1, 5))], n if wide else max(n, 5)
        attended = attended_size(image_size, attention)
        self.blocks = nn.Sequential()
        size = image_size
        for stage, (fine, coarse) in enumerate(pairwise([channels, *widths])):
            halve = stage < most and size % 2 == 0
            size = size // 2 if halve else size
            hidden = coarse if wide or stage == 0 else fine
            self.blocks.append(DownBlock(fine, hidden, coarse, halve, stage == 0, halve and size == attended))
        self.dim = widths[-1]
        self.pooling = pooling

    def forward(self, images: Tensor) -> Tensor:
        x = relu(self.blocks(images))
        return x.sum((2, 3)) if self.pooling == "sum" else x.mean((2, 3))


def initialize(module: nn.Module) -> None:
    """Xavier-uniform weights, times sqrt 2 in the convolutions before and after a ReLU, as in the authors' code.

    Conditional gains start at N(1, 0.02), shifts at 0. Biases keep PyTorch's start.
    """
    if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
        nn.init.xavier_uniform_(module.weight)
    elif isinstance(module, UpBlock | DownBlock):
        nn.init.xavier_uniform_(module.first.weight, gain=2**0.5)
        nn.init.xavier_uniform_(module.second.weight, gain=2**0.5)
    elif isinstance(module, ConditionalBatchNorm) and module.gain is not None and module.bias is not None:
        nn.init.normal_(module.gain.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias.weight)


class Generator(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> images (batch, channels, image_size, image_size) in [-1, 1].

    Labels choose the gains and shifts of the batch norms. At width 64 the networks of mimicry's published scores
    (Lee & Town 2020). Blocks double bilinearly, as there; in the papers they repeat pixels.

    Args:
        image_size, channels, latent_dim, num_classes: see ``arguments``.
        width: a quarter of every stage's channels up to 32 pixels, the finest stage's for larger images.
    """

    upsampling, eps, attention, spectral_norm = "bilinear", 1e-5, 0, False
    initialize_weights = staticmethod(initialize)

    def __init__(
        self, image_size: int, channels: int = 3, latent_dim: Width = 128, width: Width = 64, num_classes: Classes = 0
    ):
        super().__init__()
        _, self.n = halvings(image_size)
        embeds = [partial(nn.Embedding, num_classes) if num_classes else None] * self.n
        options = (self.upsampling, self.eps, self.attention)
        self.ascent = Ascent(latent_dim, image_size, channels, width, embeds, *options)
        self.apply(self.initialize_weights)
        if self.spectral_norm:
            normalize_spectrally(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.ascent(latents, [labels] * self.n)


class Discriminator(BaseDiscriminator):
    """Images (batch, channels, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    At width 64 the networks of mimicry's published scores; WGAN-GP's with ``spectral_norm=False, pooling="mean"``.

    Args:
        image_size, channels, num_classes, minibatch_stddev: see ``arguments``.
        width: half of every stage's channels up to 32 pixels, the finest stage's for larger images.
        spectral_norm: divide every weight matrix, the head's too, by its largest singular value.
        pooling: of the last stage, ``sum``, or ``mean`` as in mimicry's WGAN-GP.
    """

    wide, attention = False, 0
    initialize_weights = staticmethod(initialize)

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        width: Width = 64,
        num_classes: Classes = 0,
        spectral_norm: bool = True,
        pooling: Literal["sum", "mean"] = "sum",
        minibatch_stddev: Group = 0,
    ):
        descent = Descent(image_size, channels, width, self.wide, self.attention, pooling)
        super().__init__(descent.dim, num_classes, minibatch_stddev)
        self.descent = descent
        self.apply(self.initialize_weights)
        if spectral_norm:
            normalize_spectrally(self)

    def features(self, images: Tensor) -> Tensor:
        return self.descent(images)
