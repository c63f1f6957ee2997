"""What the discriminators of all families share: a head on features, and features of a whole batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


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


class MinibatchStddev(nn.Module):
    """Append to examples (batch, C, ...) a channel that says how much the examples of their group differ.

    It is the standard deviation over the group, averaged over all positions (Karras et al. 2018, section 3), and
    exposes a generator that repeats itself. Groups have ``group`` examples, or the largest divisor of the batch below
    that.
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


class BaseDiscriminator(nn.Module):
    """Images (batch, channels, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    A family defines ``layers``, or overrides ``features``. The head is the same for all families, so that feature
    matching, ACGAN's classes and InfoGAN's codes work with each of them.

    Args:
        feature_dim: length of the features.
        num_classes: number of labels, 0 for an unconditional network.
        minibatch_stddev: group size of ``MinibatchStddev``, which adds one feature; 0 for none.
    """

    layers: nn.Module

    def __init__(self, feature_dim: int, num_classes: int = 0, minibatch_stddev: int = 0):
        super().__init__()
        self.feature_dim = feature_dim
        self.stddev = MinibatchStddev(minibatch_stddev) if minibatch_stddev else nn.Identity()
        self.head: nn.Module = ProjectionHead(feature_dim + bool(minibatch_stddev), num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return what the logits are computed from, (batch, ``feature_dim``)."""
        return self.layers(images)

    def verdict(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the logits (batch,) of features (batch, ``feature_dim``)."""
        return self.head(self.stddev(features), labels)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.verdict(self.features(images), labels)


class Several(nn.Module):
    """Several discriminators: logits (batch, discriminators), features concatenated."""

    def __init__(self, discriminators: Sequence[nn.Module]):
        super().__init__()
        self.each: Sequence[Any] = nn.ModuleList(discriminators)  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def feature_dim(self) -> int:
        return sum(network.feature_dim for network in self.each)

    def features(self, images: Tensor) -> Tensor:
        return torch.cat([network.features(images) for network in self.each], dim=1)

    def verdict(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        parts = features.split([network.feature_dim for network in self.each], dim=1)
        logits = [network.verdict(part, labels) for network, part in zip(self.each, parts, strict=True)]
        return torch.stack(logits, dim=1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.stack([network(images, labels) for network in self.each], dim=1)
