"""Base of metrics of text."""

import torch
from torch import Tensor

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, Metric


class TextMetric(Metric):
    """A metric of the text itself, of which some samples, the first ones, are kept.

    Args:
        texts: how many, at most.
    """

    needs_features, takes = False, ("text",)

    def __init__(self, texts: int = 1_000):
        self.texts = texts

    def begin(self, comparison: Comparison) -> None:
        self.modality, self.reals = comparison.modality, comparison.reals.images
        length = self.reals.images(range(1)).shape[1]
        self.kept = torch.zeros(min(self.texts, comparison.count), length, dtype=torch.int32, device=comparison.device)

    def add(self, batch: Batch) -> None:
        early = batch.rows < len(self.kept)
        self.kept[batch.rows[early].to(self.kept.device)] = batch.images[early.to(batch.images.device)].to(self.kept)

    @property
    def sums(self) -> list[Tensor]:
        return [self.kept]

    def protocol(self) -> dict[str, float | str]:
        return {"texts": self.texts}
