"""Kernel inception distance (KID)."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sparring.evaluation.metrics.base import Comparison, Rows, RowsMetric, score_name
from sparring.randomness import generator


class KernelDistance(RowsMetric):
    """Squared MMD with the kernel (x.y / D + 1)^3, unbiased, mean over random subsets (Binkowski et al. 2018).

    ``kid`` in Inception's features, ``kd_<extractor>`` in others; ``kid_low`` and ``kid_high`` bound it with 95%
    confidence: the bootstrap of a mean of as many subset values as there are subsets without common images, widened by
    the share of the images that a subset leaves out (absent where a subset holds all images). Keeps the features of the fakes
    that are in any subset, at most ``subsets * subset_size`` of them.

    Args:
        subsets: how many; drawn as torch-fidelity draws them, so its number comes out.
        subset_size: images of each set in a subset; all of the smaller set if that holds fewer.
    """

    def __init__(self, subsets: int = 100, subset_size: int = 1000):
        self.subsets, self.subset_size = subsets, subset_size

    def names(self, extractor: str) -> dict[str, bool]:
        return {score_name(extractor, "kid", "kd"): True}

    def begin(self, comparison: Comparison) -> None:
        (self.name,) = self.names(comparison.extractor)
        self.reals, self.count = comparison.reals, comparison.count
        self.size = min(self.subset_size, self.count, len(self.reals))
        wanted = torch.cat([fakes for fakes, _ in self._draws()]).unique()
        self.fakes = Rows(wanted, comparison)

    def _draws(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Which fakes and which reals are in each subset."""
        rng = np.random.RandomState(2020)  # torch-fidelity's, its order of draws, too
        for _ in range(1 if self.size == self.count == len(self.reals) else self.subsets):
            fakes = rng.choice(self.count, self.size, replace=False)
            yield torch.from_numpy(fakes), torch.from_numpy(rng.choice(len(self.reals), self.size, replace=False))

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        from torch_fidelity.metric_kid import kernel_mmd

        values = [
            kernel_mmd(self.fakes[fakes].cpu().numpy(), self.reals.values[reals].numpy())
            for fakes, reals in self._draws()
        ]
        scores = {self.name: float(np.mean(values))}
        if interval := self._interval(torch.tensor(np.array(values), dtype=torch.float64)):
            scores[f"{self.name}_low"], scores[f"{self.name}_high"] = interval
        return scores

    def _interval(self, values: Tensor) -> tuple[float, float] | None:
        images = min(self.count, len(self.reals))
        apart = images // self.size  # subsets without a common image
        if len(values) < 2 or images == self.size:
            return None
        drawn = torch.randint(len(values), (2000, apart), generator=generator("kid bootstrap"))
        deviations = (values[drawn].mean(1) - values.mean()) / (1 - self.size / images) ** 0.5
        low, high = (deviations.quantile(q) for q in (0.025, 0.975))
        return float(values.mean() + low), float(values.mean() + high)

    def protocol(self) -> dict[str, float | str]:
        return {"subsets": self.subsets, "subset_size": self.size, "interval": "95% bootstrap"}
