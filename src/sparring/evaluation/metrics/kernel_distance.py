"""Kernel distance of two sets of features; in Inception's features the KID."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sparring.evaluation.metrics.base import Comparison, FeaturesMetric, StepCount, score_name
from sparring.randomness import generator


def squared_mmd(x: Tensor, y: Tensor) -> float:
    """Return the unbiased squared maximum mean discrepancy of features x, y (m, D) (Bińkowski et al. 2018, eq. 4).

    1/(m(m-1)) sum_{i != j} [k(x_i, x_j) + k(y_i, y_j)] - 2/m^2 sum_{i, j} k(x_i, y_j),  k(a, b) = (a.b / D + 1)^3
    """
    m, dims = x.shape

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return ((a @ b.T) / dims + 1).pow(3).double()

    k_xx, k_yy = kernel(x, x), kernel(y, y)
    within = k_xx.sum() - k_xx.trace() + k_yy.sum() - k_yy.trace()
    return float(within / (m * (m - 1)) - 2 * kernel(x, y).mean())


class KernelDistance(FeaturesMetric):
    """The mean squared MMD of random subsets of fakes and reals (Bińkowski et al. 2018).

    ``kid`` in Inception's features, ``kd_<extractor>`` in others. ``kid_low`` and ``kid_high`` are a 95% interval: the
    bootstrap of a mean of as many subset values as there are disjoint subsets, widened by the share of images that a
    subset leaves out (absent where a subset holds all images). Keeps the features of the fakes in any subset.

    Args:
        subsets: number of subsets, drawn as torch-fidelity draws them, to give its numbers.
        subset_size: images of each set in a subset; all of the smaller set if that holds fewer.
    """

    score_names = {"kid": True}

    def __init__(self, subsets: StepCount = 100, subset_size: StepCount = 1000):
        self.subsets, self.subset_size = subsets, subset_size

    def begin(self, comparison: Comparison) -> None:
        self.name = score_name("kid", comparison.extractor)
        self.reals, self.count = comparison.reals, comparison.count
        self.size = min(self.subset_size, self.count, len(self.reals))
        self.store(torch.cat([fakes for fakes, _ in self._subsets()]).unique(), comparison)

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        pairs = ((self.features_of(fakes).cpu(), self.reals.values[reals]) for fakes, reals in self._subsets())
        values = torch.tensor([squared_mmd(*pair) for pair in pairs], dtype=torch.float64)
        return {self.name: float(values.mean())} | self._interval(values)

    def protocol(self) -> dict[str, float | str]:
        return {"subsets": self.subsets, "subset_size": self.size, "interval": "95% bootstrap"}

    def _subsets(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the rows of the fakes and of the reals in each subset."""
        rng = np.random.RandomState(2020)  # torch-fidelity's seed and order of draws
        for _ in range(1 if self.size == self.count == len(self.reals) else self.subsets):
            fakes = rng.choice(self.count, self.size, replace=False)
            yield torch.from_numpy(fakes), torch.from_numpy(rng.choice(len(self.reals), self.size, replace=False))

    def _interval(self, values: Tensor) -> dict[str, float]:
        images = min(self.count, len(self.reals))
        if len(values) < 2 or images == self.size:
            return {}
        disjoint = images // self.size
        draws = torch.randint(len(values), (2000, disjoint), generator=generator("kid bootstrap"))
        deviations = (values[draws].mean(1) - values.mean()) / (1 - self.size / images) ** 0.5
        low, high = (float(values.mean() + deviations.quantile(q)) for q in (0.025, 0.975))
        return {f"{self.name}_low": low, f"{self.name}_high": high}
