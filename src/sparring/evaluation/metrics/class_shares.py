"""The share of each class among the fakes."""

from sparring.evaluation.metrics.class_coverage import ClassCoverage
from sparring.evaluation.metrics.per_class import MOST_LISTED


class ClassShares(ClassCoverage):
    """ClassCoverage's scores, and ``class_share_<number>``: the share of fakes that are seen as a class.

    With or without labels, for a head of at most 100 classes. The head must know the data's own classes, as that of
    ``evaluation/extractor=classifier`` does.
    """

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        scores = super().scores(others)
        if len(self.counts) <= MOST_LISTED:
            scores |= {f"class_share_{label}": count / self.count for label, count in enumerate(self.counts.tolist())}
        return scores
