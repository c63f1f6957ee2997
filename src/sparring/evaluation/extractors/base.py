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
    """Some examples of a set and their features.

    Args:
        rows: (batch,) int64, the row of each in its set.
        images: (batch, C, H, W) uint8, or examples of another modality as they are stored.
        values: (batch, D) float32, features that are compared by distances.
        logits: (batch, classes) float32; None from an extractor without a classifier head.
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
        dims: D, the length of a feature; 0 without features.
        classes: number of logits; 0 without a classifier head.
        facts: all that decides the features, for the protocol of every score and the key of the cache: at least
            ``extractor`` (its name), ``weights`` (the first 16 digits of their SHA-256), ``resize`` and ``precision``.
        modalities: names of the modalities that it makes features of; empty for any.
        needs_labels: learns from the labels of the training data.
    """

    name: str
    dims: int
    classes: int
    facts: dict
    modalities: Sequence[str] = ("images",)
    needs_labels = False

    @abstractmethod
    def prepare(self, device: torch.device, data: Data | None, cache: Path) -> None:
        """Load the extractor, or train it.

        Args:
            device: where features are computed.
            data: the decoded reals; None for other sets.
            cache: the cache folder.

        Raises:
            UserError: the extractor can't be used with these data.
        """

    @abstractmethod
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the features (batch, D), and the logits (batch, classes) or None, of a batch: float32 on the device.

        Args:
            images: (batch, C, H, W) uint8 from 0 to 255, C 1 or 3, on any device; of other modalities as they are stored.
        """
