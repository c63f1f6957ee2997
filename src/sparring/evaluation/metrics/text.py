"""Base of text metrics."""

import torch
from torch import Tensor

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, Metric, SampleCount, store_first


class TextMetric(Metric):
    """A metric of the text itself, which stores the first samples.

    Args:
        texts: samples that are scored, at most.
    """

    needs_features = False
    modalities = ("text",)

    def __init__(self, texts: SampleCount = 1_000):
        self.texts = texts

    def begin(self, comparison: Comparison) -> None:
        self.modality, self.reals = comparison.modality, comparison.reals.images
        length = self.reals.images(range(1)).shape[1]
        self.tokens = torch.zeros(
            min(self.texts, comparison.count), length, dtype=torch.int32, device=comparison.device
        )

    def add(self, batch: Batch) -> None:
        store_first(self.tokens, batch.rows, batch.images)

    @property
    def sums(self) -> list[Tensor]:
        return [self.tokens]

    def protocol(self) -> dict[str, float | str]:
        return {"texts": self.texts}
