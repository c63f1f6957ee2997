"""Scores of fakes beside reals, all made of the same features, each from sums that grow batch by batch."""

import warnings

import torch
from torch import Tensor, nn

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.features import RealFeatures
from sparring.evaluation.metrics.base import Comparison, Metric, score_name


class FrechetDistance(Metric):
    """|mu_r - mu_f|^2 + tr(C_r + C_f - 2 (C_r C_f)^(1/2)) of the features' means and covariances (Heusel et al. 2017).

    It is called ``fid`` in Inception's features, ``fd_<extractor>`` in others. Sums are kept in float64: 32 MiB at 2048
    dimensions, whatever the number of images.
    """

    def names(self, extractor: str) -> dict[str, bool]:
        return {score_name(extractor, "fid", "fd"): True}

    def begin(self, comparison: Comparison) -> None:
        (self.name,) = self.names(comparison.extractor)
        self.distance = ready_distance(comparison.dims, comparison.device)
        for name, value in comparison.reals.cached("moments", lambda: _moments(comparison.reals)).items():
            setattr(self.distance, name, value.to(comparison.device))

    def add(self, batch: Batch) -> None:
        self.distance.update(batch.values, real=False)

    @property
    def sums(self) -> list[Tensor]:
        return [getattr(self.distance, name) for name in _states("fake")]

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        self.distance.orig_dtype = torch.float64  # of the result; a rank without fakes of its own has none yet
        with warnings.catch_warnings(action="ignore"):  # that rank's torchmetrics also misses an update
            return {self.name: float(self.distance.cpu().compute())}


def ready_distance(dims: int, device: torch.device | str = "cpu"):
    """Torchmetrics' FID, which is given features that are ready; it sums them and their products in float64."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    distance = FrechetInceptionDistance(feature=_Ready(dims), sync_on_compute=False)
    return distance.set_dtype(torch.float64).to(device)


class _Ready(nn.Module):
    """Stands where torchmetrics expects a network, and hands on features that are ready."""

    def __init__(self, dims: int):
        super().__init__()
        self.num_features = dims

    def forward(self, values: Tensor) -> Tensor:
        return values


def _states(side: str) -> list[str]:
    return [f"{side}_features_sum", f"{side}_features_cov_sum", f"{side}_features_num_samples"]


def _moments(reals: RealFeatures) -> dict[str, Tensor]:
    distance = ready_distance(reals.values.shape[1])
    for values in reals.values.split(1000):
        distance.update(values, real=True)
    return {name: getattr(distance, name) for name in _states("real")}
