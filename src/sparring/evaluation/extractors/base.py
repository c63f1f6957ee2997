"""The interface of feature extractors, and a batch of features."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sparring.data.dataset import Data


@dataclass(frozen=True)
class Batch:
    """Some images of a set and what an extractor says of them.

    Args:
        rows: (batch,) int64, the place of each in its set.
        images: (batch, C, H, W) uint8.
        values: (batch, D) float32, compared by distances.
        logits: (batch, classes) float32; None from an extractor without a head.
        labels: (batch,) int64, the classes that were asked for; None without.
        targets: (batch, C, H, W) uint8, what each image was to be; None where that is not known.
    """

    rows: Tensor
    images: Tensor
    values: Tensor
    logits: Tensor | None = None
    labels: Tensor | None = None
    targets: Tensor | None = None


class Extractor(ABC):
    """Images to features.

    Attributes:
        name: of the extractor; scores are named after it (``fid`` and ``kid`` are those of ``inception``).
        dims: D, the length of a feature; 0 where there are none.
        classes: number of logits, 0 without a classifier head.
        facts: what decides the features, for the protocol of every score and the key of the cache: at least ``extractor``
            (its name), ``weights`` (the first 16 digits of their SHA-256), ``resize`` and ``precision``.
        takes: the modalities that it makes features of; of any, if it names none.
    """

    name: str
    dims: int
    classes: int
    facts: dict
    takes: Sequence[str] = ("images",)

    @abstractmethod
    def prepare(self, device: torch.device, data: Data | None, cache: Path) -> None:
        """Get ready on a device; ``data`` are the decoded reals (None for other sets), ``cache`` the cache folder."""

    @abstractmethod
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """uint8 images (batch, C, H, W) -> values (batch, D) and logits (batch, classes) or None, float32."""
