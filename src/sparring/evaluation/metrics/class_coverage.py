"""Which classes the samples cover."""

import torch
from torch import Tensor

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, Metric


class ClassCoverage(Metric):
    """Which classes the extractor's head sees among the fakes.

    ``classes_covered``: how many have at least a tenth of the share that they have among the reals. ``class_entropy``:
    entropy of the fakes' classes in nats, ln(classes) when all are alike. ``label_accuracy``: share of fakes seen as
    the class that was asked for (conditional models only).
    """

    needs_logits = True

    def names(self, extractor: str) -> dict[str, bool]:
        return dict.fromkeys(["classes_covered", "class_entropy", "label_accuracy"], False)

    def begin(self, comparison: Comparison) -> None:
        self.reals, self.count = comparison.reals, comparison.count
        self.found = torch.zeros(comparison.classes, dtype=torch.int64)
        self.asked, self.right = torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.int64)

    def add(self, batch: Batch) -> None:
        seen = batch.logits.argmax(1).cpu()
        self.found += seen.bincount(minlength=len(self.found))
        if batch.labels is not None:
            self.asked += len(seen)
            self.right += (seen == batch.labels).sum()

    @property
    def sums(self) -> list[Tensor]:
        return [self.found, self.asked, self.right]

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        known = self.reals.classes.bincount(minlength=len(self.found))
        enough = 10 * self.found * len(self.reals) >= known * self.count
        scores = {
            "classes_covered": int((enough & (self.found > 0)).sum()),
            "class_entropy": float(torch.special.entr(self.found / self.count).sum()),
        }
        if self.asked:
            scores["label_accuracy"] = int(self.right) / int(self.asked)
        return scores
