"""Base of text metrics."""

import torch

from sparring.data.modalities.text import Text
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
        assert isinstance(comparison.modality, Text)
        self.modality, self.reals = comparison.modality, comparison.reals.images
        length = self.reals.images(range(1)).shape[1]
        count = min(self.texts, comparison.count)
        self.tokens = torch.zeros(count, length, dtype=torch.int32, device=comparison.device)
        self.sums = [self.tokens]

    def add(self, batch: Batch) -> None:
        store_first(self.tokens, batch.rows, batch.images)

    def protocol(self) -> dict[str, float | str]:
        return {"texts": self.texts}
