"""Which classes a classifier sees among the fakes."""

import torch

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, Metric


class ClassCoverage(Metric):
    """The classes that the extractor's head sees among the fakes.

    ``classes_covered``: the number of classes with at least a tenth of their share among the reals. ``class_entropy``:
    the entropy of the fakes' classes in nats, ln(classes) where all are equally frequent. ``label_accuracy``: the share
    of fakes seen as the class that was asked for (conditional generators only).
    """

    needs_logits = True
    score_names = dict.fromkeys(["classes_covered", "class_entropy", "label_accuracy"], False)

    def begin(self, comparison: Comparison) -> None:
        assert comparison.reals.classes is not None
        self.real_classes, self.count = comparison.reals.classes, comparison.count
        self.counts = torch.zeros(comparison.classes, dtype=torch.int64)
        self.labelled, self.right = torch.zeros(2, dtype=torch.int64)
        self.sums = [self.counts, self.labelled, self.right]

    def add(self, batch: Batch) -> None:
        assert batch.logits is not None
        predicted = batch.logits.argmax(1).cpu()
        self.counts += predicted.bincount(minlength=len(self.counts))
        if batch.labels is not None:
            self.labelled += len(predicted)
            self.right += (predicted == batch.labels).sum()

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        real_counts = self.real_classes.bincount(minlength=len(self.counts))
        covered = (10 * self.counts * len(self.real_classes) >= real_counts * self.count) & (self.counts > 0)
        scores = {
            "classes_covered": int(covered.sum()),
            "class_entropy": float(torch.special.entr(self.counts / self.count).sum()),
        }
        if self.labelled:
            scores["label_accuracy"] = int(self.right) / int(self.labelled)
        return scores
