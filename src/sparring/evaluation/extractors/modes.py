"""The mode of each example, of data whose modes are known."""

from pathlib import Path

import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.evaluation.extractors.base import Extractor
from sparring.evaluation.extractors.classifier import Share
from sparring.evaluation.extractors.stacked_digits import StackedDigits
from sparring.storage.tensor_files import hash_of


class ModeFinder(Extractor):
    """Modes of a mixture by the nearest centre, of stacked digits by a classifier.

    Features of points are their coordinates, logits -|x - c|^2 / (2 sigma^2) for each centre c.

    Args:
        min_accuracy: least accuracy of the digits' classifier with which scores are computed.
    """

    modalities = ("points", "images")
    name = "modes"  # until ``prepare`` sees the data

    def __init__(self, min_accuracy: Share = 0.0):
        self.min_accuracy = min_accuracy

    def prepare(self, device: torch.device, data: Data | None, cache: Path) -> None:
        """Raises UserError if the data's modes are not known."""
        self.inner = None
        if data is not None and data.mixture is not None:
            centres = data.mixture.centres
            self.centres, self.variance = centres.to(device), max(data.mixture.sigma, 1e-6) ** 2
            self.name, self.classes, self.dims = "mixture", *centres.shape
            weights = hash_of({"centres": centres})
            self.facts = {"extractor": self.name, "weights": weights, "resize": "none", "precision": "float32"}
        elif data is not None and data.name == "stackedmnist":
            self.inner = StackedDigits(self.min_accuracy)
            self.inner.prepare(device, data, cache)
            self.name, self.dims, self.classes = self.inner.name, self.inner.dims, self.inner.classes
            self.facts = self.inner.facts
        else:
            raise UserError("evaluation=modes wants data whose modes are known: data=ring, grid or stacked_mnist")

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.inner is not None:
            return self.inner(images)
        points = images.to(self.centres)
        return points, torch.cdist(points, self.centres).square() / (-2 * self.variance)
