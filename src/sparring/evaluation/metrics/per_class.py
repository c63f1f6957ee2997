"""Scores of single classes."""

from torch import Tensor

from sparring.evaluation.metrics.base import Comparison, Count
from sparring.evaluation.metrics.intra_class import IntraClassFrechetDistance
from sparring.evaluation.metrics.knn import neighbourhood_scores

MOST_LISTED = 100  # classes; with more, no scores of single classes are given


class PerClass(IntraClassFrechetDistance):
    """The Fréchet distance, recall and coverage of each class.

    To the scores of IntraClassFrechetDistance it adds ``class_recall`` and ``class_coverage``, the means over classes
    of recall and coverage within a class (unlike recall, coverage does not grow by fakes that are scattered far from
    the reals), ``..._worst`` of the worst class, and all three of each class by its number, as ``class_recall_7``.

    Args:
        k: neighbour that bounds a fake's ball, for recall.
        coverage_k: neighbour that bounds a real's ball, for coverage.
    """

    score_names = {"intra_fid": True, "class_recall": False, "class_coverage": False}

    def __init__(self, k: Count = 3, coverage_k: Count = 5):
        self.k, self.coverage_k = k, coverage_k

    def begin(self, comparison: Comparison) -> None:
        super().begin(comparison)
        labels = self.real_labels.unique().tolist()
        self.listed = labels if len(labels) <= MOST_LISTED else ()

    def class_scores(self, reals: Tensor, fakes: Tensor) -> list[float]:
        neighbourhood = neighbourhood_scores(reals, fakes, self.k, self.coverage_k)
        return [*super().class_scores(reals, fakes), neighbourhood["recall"], neighbourhood["coverage"]]

    def protocol(self) -> dict[str, float | str]:
        return super().protocol() | {"recall_k": self.k, "coverage_k": self.coverage_k}
