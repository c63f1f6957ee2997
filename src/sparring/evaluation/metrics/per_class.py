"""Scores of single classes."""

import torch
from torch import Tensor

from sparring.evaluation.metrics.base import Comparison
from sparring.evaluation.metrics.intra_class import IntraClassFrechetDistance, frechet_distance

LISTED = 100  # classes; of more, no value of a single class is given


class PerClass(IntraClassFrechetDistance):
    """The Fréchet distance, recall and coverage of each class, and in which it is worst.

    To the scores of IntraClassFrechetDistance it adds ``class_recall``, the mean over classes of the share of a class's
    reals that lie among the fakes of that class (Kynkäänniemi et al. 2019), and ``class_coverage``, that of the shares with
    a fake close by (Naeem et al. 2020; unlike recall it does not grow by fakes that are scattered far from the reals);
    ``..._worst``; and all three of each class by its number, as ``class_recall_7`` (of data with at most 100 classes).

    Args:
        k: neighbour that bounds a fake's ball, for recall.
        coverage_k: neighbour that bounds a real's ball, for coverage.
    """

    def __init__(self, k: int = 3, coverage_k: int = 5):
        self.k, self.coverage_k, self.listed = k, coverage_k, []

    def names(self, extractor: str) -> dict[str, bool]:
        distance = next(iter(super().names(extractor)))
        low = {distance: True, "class_recall": False, "class_coverage": False}
        ends = ["", "_worst", *(f"_{label}" for label in self.listed)]
        return {f"{name}{end}": low[name] for name in low for end in ends}

    def begin(self, comparison: Comparison) -> None:
        super().begin(comparison)
        classes = comparison.reals.images.labels.unique().tolist()
        self.listed = classes if len(classes) <= LISTED else []

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        values = {
            label: (
                frechet_distance(reals, fakes),
                recall(reals, fakes, self.k),
                coverage(reals, fakes, self.coverage_k),
            )
            for label, reals, fakes in self._classes()
        }
        scores = {}
        for i, (name, worst) in enumerate([(self.name, max), ("class_recall", min), ("class_coverage", min)]):
            each = {label: row[i] for label, row in values.items()}
            scores |= {name: sum(each.values()) / len(each), f"{name}_worst": worst(each.values())} if each else {}
            scores |= {f"{name}_{label}": value for label, value in each.items() if label in self.listed}
        return scores

    def protocol(self) -> dict[str, float | str]:
        return super().protocol() | {"recall_k": self.k, "coverage_k": self.coverage_k}


def recall(reals: Tensor, fakes: Tensor, k: int) -> float:
    """The share of reals (N, D) that lie no farther from some fake (M, D) than the k-th nearest other fake does."""
    radius = _radius(fakes, k)
    within = [(torch.cdist(part, fakes) <= radius).any(1) for part in reals.split(1000)]
    return float(torch.cat(within).double().mean())


def coverage(reals: Tensor, fakes: Tensor, k: int) -> float:
    """The share of reals (N, D) that have a fake (M, D) nearer than the k-th nearest other real is."""
    nearest = torch.cat([torch.cdist(part, fakes).amin(1) for part in reals.split(1000)])
    return float((nearest < _radius(reals, k)).double().mean())


def _radius(values: Tensor, k: int) -> Tensor:
    """The distance of every point (N, D) to its k-th nearest other one, (N,)."""
    k = min(k, len(values) - 1)
    return torch.cat([torch.cdist(part, values).topk(k + 1, largest=False).values[:, k] for part in values.split(1000)])
