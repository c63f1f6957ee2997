"""The mode of each example, of data whose modes are known."""

from pathlib import Path

import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.evaluation.extractors.stacked_digits import StackedDigits
from sparring.storage.tensor_files import hash_of


class ModeFinder(StackedDigits):
    """Modes of stacked digits by a classifier, of a mixture by the nearest centre.

    Features of points are their coordinates, logits -|x - c|^2 / (2 sigma^2) for each centre c.
    """

    name = "modes"  # until ``prepare`` sees the data
    modalities = ("points", "images")
    needs_labels = False

    def prepare(self, device: torch.device, data: Data | None, cache: Path) -> None:
        self.centres = None
        if data is not None and data.centres is not None:
            self.centres, self.variance = data.centres.to(device), max(data.sigma, 1e-6) ** 2
            self.name, self.classes, self.dims = "mixture", *data.centres.shape
            weights = hash_of({"centres": data.centres})
            self.facts = {"extractor": self.name, "weights": weights, "resize": "none", "precision": "float32"}
        elif data is not None and data.name == "stackedmnist":
            self.name = StackedDigits.name
            super().prepare(device, data, cache)
        else:
            raise UserError("evaluation=modes wants data whose modes are known: data=ring, grid or stacked_mnist")

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if self.centres is None:
            return super().__call__(images)
        points = images.to(self.centres)
        return points, torch.cdist(points, self.centres).square() / (-2 * self.variance)
