"""What a score is made of: features of images, each image passed through the extractor once."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """What an extractor says of a set of images.

    Args:
        values: (N, D) float32, compared by distances.
        logits: (N, classes) float32.
        labels: (N,) int64, the classes that were asked for or are known; None without.
    """

    values: Tensor
    logits: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)


class Extractor(ABC):
    """Images to features.

    Attributes:
        name: of the extractor, in the protocol of every score.
        weights_hash: SHA-256 (first 16 digits) of its weights.
        facts: whatever else belongs into the protocol of a score.
    """

    name: str
    weights_hash: str
    facts: dict

    @abstractmethod
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 images (batch, C, H, W) -> values (batch, D) and logits (batch, classes), on the CPU."""

    def extract(self, images: Tensor, labels: Tensor | None = None, batch_size: int = 500) -> Features:
        """Features of many images (N, C, H, W), in batches."""
        parts = [self(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
        values, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        return Features(values, logits, labels)
