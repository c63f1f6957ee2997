"""The share of each class among the samples."""

from sparring.evaluation.metrics.class_coverage import ClassCoverage
from sparring.evaluation.metrics.per_class import LISTED


class ClassShares(ClassCoverage):
    """To the scores of ClassCoverage it adds ``class_share_<number>``: the share of fakes that are seen as a class.

    For generators with and without labels; of a head of at most 100 classes. The head must be of the data's own classes for
    these to mean something, as that of ``evaluation/extractor=classifier`` is.
    """

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        scores = super().scores(found)
        if len(self.found) <= LISTED:
            scores |= {f"class_share_{label}": count / self.count for label, count in enumerate(self.found.tolist())}
        return scores
