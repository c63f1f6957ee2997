"""Precision, recall, density and coverage."""

import torch
from torch import Tensor

from sparring.evaluation.metrics.base import Comparison, Count, FeaturesMetric, SampleCount
from sparring.evaluation.metrics.knn import neighbourhood_scores
from sparring.randomness import generator


class PRDC(FeaturesMetric):
    """Whether fakes look like reals (precision, density) and reals are covered by fakes (recall, coverage).

    The equations are in ``neighbourhood_scores``.

    Args:
        samples: images of each set, at most; chosen at random, because data sets are often sorted by class.
        k: neighbour for precision and recall.
        density_k: neighbour for density and coverage.
    """

    score_names = dict.fromkeys(["precision", "recall", "density", "coverage"], False)

    def __init__(self, samples: SampleCount = 10_000, k: Count = 3, density_k: Count = 5):
        self.samples, self.k, self.density_k = samples, k, density_k

    def begin(self, comparison: Comparison) -> None:
        self.reals = comparison.reals
        self.store(self._chosen(comparison.count), comparison)

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        reals = self.reals.values[self._chosen(len(self.reals))].to(self.features.device)
        return neighbourhood_scores(reals, self.features, self.k, self.density_k)

    def protocol(self) -> dict[str, float | str]:
        counts: dict[str, float | str] = {"fakes": len(self.features), "reals": min(len(self.reals), self.samples)}
        return counts | {"precision_recall_k": self.k, "density_coverage_k": self.density_k}

    def _chosen(self, count: int) -> Tensor:
        return torch.randperm(count, generator=generator("precision"))[: self.samples].sort().values
