"""No features, for metrics that compare the examples themselves."""

from pathlib import Path

import torch
from torch import Tensor

from sparring.data.dataset import Data
from sparring.evaluation.extractors.base import Extractor


class NoFeatures(Extractor):
    """Returns features of length 0, and needs no weights."""

    name, dims, classes, modalities = "none", 0, 0, ()
    facts = {"extractor": "none", "weights": "none", "resize": "none", "precision": "none"}

    def prepare(self, device: torch.device, data: Data | None, cache: Path) -> None:
        self.device = device

    def __call__(self, images: Tensor) -> tuple[Tensor, None]:
        return torch.zeros(len(images), 0, device=self.device), None
