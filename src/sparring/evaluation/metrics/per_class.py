"""Scores of single classes."""

from sparring.evaluation.metrics.base import Comparison, Count
from sparring.evaluation.metrics.frechet_distance import frechet_distance
from sparring.evaluation.metrics.intra_class import IntraClassFrechetDistance, mean_and_worst
from sparring.evaluation.metrics.knn import neighbourhood_scores

MOST_LISTED = 100  # classes; with more, no scores of single classes are given


class PerClass(IntraClassFrechetDistance):
    """The Fréchet distance, recall and coverage of each class.

    To the scores of IntraClassFrechetDistance it adds ``class_recall`` and ``class_coverage``, the mean over classes of
    recall and coverage within a class (unlike recall, coverage does not grow by fakes that are scattered far from the
    reals), ``..._worst`` of the worst class, and all three of each class by its number, as ``class_recall_7``.

    Args:
        k: neighbour that bounds a fake's ball, for recall.
        coverage_k: neighbour that bounds a real's ball, for coverage.
    """

    def __init__(self, k: Count = 3, coverage_k: Count = 5):
        self.k, self.coverage_k, self.listed = k, coverage_k, []

    def names(self, extractor: str) -> dict[str, bool]:
        distance = next(iter(super().names(extractor)))
        lower = {distance: True, "class_recall": False, "class_coverage": False}
        ends = ["", "_worst", *(f"_{label}" for label in self.listed)]
        return {f"{name}{end}": lower[name] for name in lower for end in ends}

    def begin(self, comparison: Comparison) -> None:
        super().begin(comparison)
        labels = self.real_labels.unique().tolist()
        self.listed = labels if len(labels) <= MOST_LISTED else []

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        distance, recall, coverage = {}, {}, {}
        for label, reals, fakes in self._classes():
            distance[label] = frechet_distance(reals, fakes)
            found = neighbourhood_scores(reals, fakes, self.k, self.coverage_k)
            recall[label], coverage[label] = found["recall"], found["coverage"]
        scores = {}
        table = [(self.name, distance, max), ("class_recall", recall, min), ("class_coverage", coverage, min)]
        for name, values, worst in table:
            scores |= mean_and_worst(name, list(values.values()), worst)
            scores |= {f"{name}_{label}": value for label, value in values.items() if label in self.listed}
        return scores

    def protocol(self) -> dict[str, float | str]:
        return super().protocol() | {"recall_k": self.k, "coverage_k": self.coverage_k}
