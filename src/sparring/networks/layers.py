"""What the network families share: sizes, labels, initialisation."""

import torch
from torch import Tensor, nn


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
        nearest = " or ".join(str(size) for size in below + above)
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


def normalization(kind: str, channels: int) -> nn.Module:
    """A normalisation layer for (batch, channels, H, W): ``batch``, ``instance``, ``layer`` or ``none``."""
    layers = {
        "batch": lambda: nn.BatchNorm2d(channels),
        "instance": lambda: nn.InstanceNorm2d(channels, affine=True),
        "layer": lambda: nn.GroupNorm(1, channels),
        "none": nn.Identity,
    }
    return layers[kind]()
