"""Which of the known modes of the data a generator makes, how often, and how well."""

import torch
from torch import Tensor

from sparring.data.image_grids import scatter
from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, Metric


class Modes(Metric):
    """Modes recovered and the reverse KL divergence; of points also their quality, spread and a picture.

    Protocol of Lin et al. 2018 (PacGAN, section 4.1). A point is of high quality within ``sigmas`` deviations of a centre;
    a mode is recovered by one such point (of stacked digits, by any image); ``modes_recovered`` and ``high_quality`` (share of
    the points) count these. ``reverse_kl`` is KL(fakes || uniform) over the modes, each fake counted for the nearest, in nats.
    ``within_mode_spread`` is the deviation of the high-quality points around the mean of their mode, over that of the reals:
    1 for a perfect sampler, below it for shrunken modes, whose share of high quality is flattered.

    Args:
        sigmas: radius of high quality. Of a perfect sampler 1 - exp(-sigmas^2/2) of the points lie within, in two dimensions.
        shown: points in the picture.
    """

    needs_logits = True

    def __init__(self, sigmas: float = 3.0, shown: int = 2_500):
        self.sigmas, self.shown = sigmas, shown

    def names(self, extractor: str) -> dict[str, bool]:
        quality = {"high_quality": False, "within_mode_spread": False} if extractor == "mixture" else {}
        return {"reverse_kl": True, "modes_recovered": False} | quality

    def begin(self, comparison: Comparison) -> None:
        self.reals, self.count, self.of_points = comparison.reals, comparison.count, comparison.extractor == "mixture"
        exact = {"dtype": torch.float64, "device": comparison.device}
        self.found = torch.zeros(comparison.classes, **exact)
        self.good = torch.zeros(comparison.classes, **exact)
        self.first = torch.zeros(comparison.classes, comparison.dims if self.of_points else 0, **exact)
        self.second = torch.zeros(comparison.classes, **exact)
        shown = min(self.shown, comparison.count) if self.of_points else 0
        self.points = torch.zeros(shown, comparison.dims, device=comparison.device)

    def add(self, batch: Batch) -> None:
        nearest, mode = batch.logits.max(1)
        self.found += mode.bincount(minlength=len(self.found))
        if self.of_points:
            kept = batch.rows < len(self.points)
            self.points[batch.rows[kept].to(self.points.device)] = batch.values[kept.to(batch.values.device)]
            good = nearest >= -(self.sigmas**2) / 2
            points, mode = batch.values[good].double(), mode[good]
            self.good += mode.bincount(minlength=len(self.good))
            self.first.index_add_(0, mode, points)
            self.second.index_add_(0, mode, points.square().sum(1))

    @property
    def sums(self) -> list[Tensor]:
        return [self.found, self.good, self.first, self.second, self.points]

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        share = self.found / self.count
        scores = {"reverse_kl": float(torch.special.xlogy(share, share * len(share)).sum())}
        if not self.of_points:
            return scores | {"modes_recovered": int((self.found > 0).sum())}
        scores["modes_recovered"] = int((self.good > 0).sum())
        scores["high_quality"] = float(self.good.sum() / self.count)
        if (self.good > 1).any():
            scores["within_mode_spread"] = self._spread(self.good, self.first, self.second) / self._spread_of_reals()
        return scores

    @staticmethod
    def _spread(count: Tensor, first: Tensor, second: Tensor) -> float:
        """Root of the mean variance of a coordinate within a mode, over the modes with at least two points."""
        several = count > 1
        count, first, second = count[several], first[several], second[several]
        variance = (second - first.square().sum(1) / count) / (count - 1) / first.shape[1]
        return float(variance.mean().clamp(min=0).sqrt())

    def _spread_of_reals(self) -> float:
        values, classes = self.reals.values.double(), self.reals.classes
        count = classes.bincount(minlength=len(self.found)).double()
        centres = torch.zeros(len(count), values.shape[1], dtype=torch.float64).index_add_(0, classes, values)
        centres /= count[:, None]
        squares = (values - centres[classes]).square().sum(1)
        spread = (squares.sum() / (count.sum() * values.shape[1])).sqrt()
        good = squares <= (self.sigmas * spread) ** 2
        return float((squares[good].sum() / (good.sum() * values.shape[1])).sqrt())

    def protocol(self) -> dict[str, float | str]:
        return {"high_quality_sigmas": self.sigmas} if self.of_points else {}

    def pictures(self) -> dict[str, Tensor]:
        """The fakes over the reals, of two dimensions."""
        if not self.of_points or self.points.shape[1] != 2:
            return {}
        return {"modes": scatter(self.points.cpu(), self.reals.values[: len(self.points)])}
