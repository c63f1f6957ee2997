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
    """Some examples of a set and their features."""

    rows: Tensor  # (batch,) int64, the row of each in its set
    images: Tensor  # (batch, C, H, W) uint8, or examples of another modality as they are stored
    values: Tensor  # (batch, D) float32, features that are compared by distances
    logits: Tensor | None = None  # (batch, classes) float32; None from an extractor without a classifier head
    labels: Tensor | None = None  # (batch,) int64, the classes that were asked for; None without
    targets: Tensor | None = None  # (batch, C, H, W) uint8, what each image was to be; None where that is not known


class Extractor(ABC):
    """Images to features.

    ``facts`` holds all that decides the features, for the protocol of every score and the key of the cache: at least
    ``extractor`` (its name), ``weights`` (the first 16 digits of their SHA-256), ``resize`` and ``precision``.
    """

    name: str  # scores are named after it (``fid`` and ``kid`` are those of ``inception``)
    dims: int  # D, the length of a feature; 0 without features
    classes: int  # number of logits; 0 without a classifier head
    facts: dict
    modalities: Sequence[str] = ("images",)  # names of the modalities that it makes features of; empty for any
    needs_labels = False  # whether it learns from the labels of the training data

    @abstractmethod
    def prepare(self, device: torch.device, data: Data | None, cache: Path) -> None:
        """Load or train it. ``data`` are the decoded reals, None for other sets; ``cache`` is the cache folder.

        Raises:
            UserError: it can't be used with these data.
        """

    @abstractmethod
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the features (batch, D), and the logits (batch, classes) or None, of a batch: float32 on the device.

        Args:
            images: (batch, C, H, W) uint8, 0 to 255, C 1 or 3, on any device; of other modalities as they are stored.
        """
