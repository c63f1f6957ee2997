"""Precision, recall, density and coverage."""

import torch
from torch import Tensor

from sparring.evaluation.metrics.base import Comparison, Rows, RowsMetric
from sparring.randomness import generator


class PRDC(RowsMetric):
    """Whether fakes lie among reals and reals among fakes, by balls that reach to each point's k-th nearest neighbour.

    ``precision`` and ``recall`` (Kynkäänniemi et al. 2019): shares of fakes in some real's ball, and of reals in some
    fake's. ``density`` and ``coverage`` (Naeem et al. 2020): in how many reals' balls a fake lies, over k; and the share of
    reals whose ball holds a fake.

    Args:
        samples: at most so many of each set are compared, chosen at random (data sets are often sorted by class).
        k: neighbour for precision and recall.
        density_k: neighbour for density and coverage.
    """

    def __init__(self, samples: int = 10_000, k: int = 3, density_k: int = 5):
        self.samples, self.k, self.density_k = samples, k, density_k

    def names(self, extractor: str) -> dict[str, bool]:
        return dict.fromkeys(["precision", "recall", "density", "coverage"], False)

    def begin(self, comparison: Comparison) -> None:
        self.reals = comparison.reals
        self.fakes = Rows(self._chosen(comparison.count), comparison)

    def _chosen(self, count: int) -> Tensor:
        return torch.randperm(count, generator=generator("precision"))[: self.samples].sort().values

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        fakes = self.fakes.values
        reals = self.reals.values[self._chosen(len(self.reals))].to(fakes.device)
        (fake_radius,) = _radii(fakes, [self.k])
        radius, density_radius = _radii(reals, [self.k, self.density_k])
        precise = torch.zeros(len(fakes), dtype=torch.bool, device=fakes.device)
        recalled, covered, hits = 0, 0, 0
        for rows in torch.arange(len(reals), device=fakes.device).split(1000):
            distances = torch.cdist(reals[rows], fakes)  # (1000, fakes)
            precise |= (distances <= radius[rows, None]).any(0)
            recalled += int((distances <= fake_radius).any(1).sum())
            within = distances < density_radius[rows, None]
            hits += int(within.sum())
            covered += int(within.any(1).sum())
        return {
            "precision": float(precise.float().mean()),
            "recall": recalled / len(reals),
            "density": hits / (self.density_k * len(fakes)),
            "coverage": covered / len(reals),
        }

    def protocol(self) -> dict[str, float | str]:
        return {
            "fakes": len(self.fakes.values),
            "reals": min(len(self.reals), self.samples),
            "precision_recall_k": self.k,
            "density_coverage_k": self.density_k,
        }


def _radii(values: Tensor, neighbours: list[int]) -> list[Tensor]:
    """For each k the distance of every point (N, D) to its k-th nearest other one, (N,)."""
    nearest = [
        torch.cdist(part, values).topk(min(max(neighbours) + 1, len(values)), largest=False).values
        for part in values.split(1000)
    ]
    nearest = torch.cat(nearest)
    return [nearest[:, min(k, nearest.shape[1] - 1)] for k in neighbours]
