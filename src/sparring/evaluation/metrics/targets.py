"""Base of metrics that compare each output with its target."""

from abc import abstractmethod

import torch
from torch import Tensor

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, Metric

NUMBERS = 2**18  # compared at a time: more leave a CPU's caches


class TargetsMetric(Metric):
    """A metric that is a mean over images of a distance to their targets. Keeps the sums alone."""

    needs_targets = True
    needs_features = False

    def begin(self, comparison: Comparison) -> None:
        self.device, self.count = comparison.device, comparison.count
        self.total = torch.zeros(len(self.score_names), dtype=torch.float64, device=self.device)
        self.sums = [self.total]

    def add(self, batch: Batch) -> None:
        assert batch.targets is not None
        size = max(NUMBERS // batch.images[0].numel(), 1)
        for images, targets in zip(batch.images.split(size), batch.targets.split(size), strict=True):
            self.total += self.compare(images.to(self.device), targets.to(self.device)).double().sum(1)

    @abstractmethod
    def compare(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return scores (len(score_names), batch) of uint8 images and targets (batch, C, H, W)."""

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        return dict(zip(self.score_names, (self.total / self.count).tolist(), strict=True))
