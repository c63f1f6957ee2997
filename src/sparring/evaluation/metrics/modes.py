"""How many of the data's known modes a generator recovers, how evenly, and how well."""

import torch
from pydantic import PositiveFloat
from torch import Tensor

from sparring.data.image_grids import scatter
from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, Count, Metric, store_first


class Modes(Metric):
    """Modes recovered and the reverse KL divergence; of points also their quality, spread and a picture.

    Protocol of Lin et al. 2018 (PacGAN, section 4.1). A point is of high quality within ``sigmas`` deviations of a
    centre; one such point recovers a mode (of stacked digits, any image): ``modes_recovered``, and ``high_quality``, a
    share of the points. ``reverse_kl`` is KL(fakes || uniform) over the modes in nats, by each fake's nearest mode.
    ``within_mode_spread`` is the deviation of the high-quality points from the mean of their mode, over that of the
    reals: 1 for a perfect sampler, less for shrunken modes, whose share of high quality is flattered.

    Args:
        sigmas: radius of high quality; in two dimensions it holds 1 - exp(-sigmas^2/2) of a perfect sampler's points.
        shown: points in the picture.
    """

    needs_logits = True

    def __init__(self, sigmas: PositiveFloat = 3.0, shown: Count = 2_500):
        self.sigmas, self.shown = sigmas, shown

    def names(self, extractor: str) -> dict[str, bool]:
        quality = {"high_quality": False, "within_mode_spread": False} if extractor == "mixture" else {}
        return {"reverse_kl": True, "modes_recovered": False} | quality

    def begin(self, comparison: Comparison) -> None:
        self.reals, self.count, self.of_points = comparison.reals, comparison.count, comparison.extractor == "mixture"
        assert self.reals.classes is not None
        self.real_modes = self.reals.classes
        modes, dims = comparison.classes, comparison.dims if self.of_points else 0
        exact = {"dtype": torch.float64, "device": comparison.device}
        self.counts = torch.zeros(modes, **exact)
        self.good_counts = torch.zeros(modes, **exact)
        self.good_sums = torch.zeros(modes, dims, **exact)
        self.good_squares = torch.zeros(modes, **exact)
        shown = min(self.shown, comparison.count) if self.of_points else 0
        self.shown_points = torch.zeros(shown, dims, device=comparison.device)
        self.sums = [self.counts, self.good_counts, self.good_sums, self.good_squares, self.shown_points]

    def add(self, batch: Batch) -> None:
        assert batch.logits is not None
        nearest, mode = batch.logits.max(1)
        self.counts += mode.bincount(minlength=len(self.counts))
        if self.of_points:
            store_first(self.shown_points, batch.rows, batch.values)
            good = nearest >= -(self.sigmas**2) / 2
            points, mode = batch.values[good].double(), mode[good]
            self.good_counts += mode.bincount(minlength=len(self.counts))
            self.good_sums.index_add_(0, mode, points)
            self.good_squares.index_add_(0, mode, points.square().sum(1))

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        share = self.counts / self.count
        scores = {"reverse_kl": float(torch.special.xlogy(share, share * len(share)).sum())}
        if not self.of_points:
            return scores | {"modes_recovered": int((self.counts > 0).sum())}
        scores["modes_recovered"] = int((self.good_counts > 0).sum())
        scores["high_quality"] = float(self.good_counts.sum() / self.count)
        if (self.good_counts > 1).any():
            scores["within_mode_spread"] = self._spread_of_fakes() / self._spread_of_reals()
        return scores

    def protocol(self) -> dict[str, float | str]:
        return {"high_quality_sigmas": self.sigmas} if self.of_points else {}

    def pictures(self) -> dict[str, Tensor]:
        """Return a picture of two-dimensional fakes over the reals."""
        if self.shown_points.shape[1] != 2:
            return {}
        return {"modes": scatter(self.shown_points.cpu(), self.reals.values[: len(self.shown_points)])}

    def _spread_of_fakes(self) -> float:
        """Root of the mean variance of a coordinate within a mode, over the modes with at least two good points."""
        several = self.good_counts > 1
        count, sums, squares = self.good_counts[several], self.good_sums[several], self.good_squares[several]
        variance = (squares - sums.square().sum(1) / count) / (count - 1) / sums.shape[1]
        return float(variance.mean().clamp(min=0).sqrt())

    def _spread_of_reals(self) -> float:
        """Deviation of a coordinate of the reals within ``sigmas`` deviations of the mean of their mode."""
        values, classes = self.reals.values.double(), self.real_modes
        count = classes.bincount(minlength=len(self.counts)).double()
        centres = torch.zeros(len(count), values.shape[1], dtype=torch.float64).index_add_(0, classes, values)
        centres /= count[:, None]
        squares = (values - centres[classes]).square().sum(1)
        spread = (squares.sum() / (count.sum() * values.shape[1])).sqrt()
        good = squares <= (self.sigmas * spread) ** 2
        return float((squares[good].sum() / (good.sum() * values.shape[1])).sqrt())
