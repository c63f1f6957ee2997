"""Fréchet distance of two sets of features; in Inception's features the FID."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.features import Reference
from sparring.evaluation.metrics.base import Comparison, Metric, score_name


class Moments:
    """Mean and covariance of features from running float64 sums, which add up over batches and ranks.

    Args:
        dims: D; the sums take 8 D^2 bytes (32 MiB at 2048), however many the features.
        device: where they are.

    Attributes:
        sums: the count (), the sum (D,) and the sum of outer products (D, D).
    """

    def __init__(self, dims: int, device: torch.device | str = "cpu"):
        self.sums = [torch.zeros(shape, dtype=torch.float64, device=device) for shape in ((), dims, (dims, dims))]

    def add(self, features: Tensor) -> None:
        """Add features (batch, D)."""
        count, total, outer = self.sums
        features = features.to(outer)
        count += len(features)
        total += features.sum(0)
        outer.addmm_(features.T, features)

    def mean_and_covariance(self) -> tuple[Tensor, Tensor]:
        """Return the mean (D,) and the unbiased covariance (D, D) of at least two features."""
        count, total, outer = self.sums
        mean = total / count
        return mean, (outer - count * mean.outer(mean)) / (count - 1)


def matrix_root(covariance: Tensor) -> Tensor:
    """Return the symmetric square root of a positive semidefinite matrix (D, D)."""
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    return (vectors * eigenvalues.clamp(min=0).sqrt()) @ vectors.T


def gaussian_distance(mean_1: Tensor, root_1: Tensor, mean_2: Tensor, covariance_2: Tensor) -> float:
    """Return the squared Fréchet distance of two Gaussians (Dowson & Landau 1982).

        |mu_1 - mu_2|^2 + Tr C_1 + Tr C_2 - 2 Tr (C_1 C_2)^(1/2)

    C_1 C_2 has the eigenvalues of the symmetric matrix R C_2 R, R = C_1^(1/2): the last trace is the sum of their
    square roots. Rounding can make a zero eigenvalue slightly negative.

    Args:
        mean_1: mu_1 (D,).
        root_1: R (D, D).
        mean_2: mu_2 (D,).
        covariance_2: C_2 (D, D).
    """
    eigenvalues = torch.linalg.eigvalsh(root_1 @ covariance_2 @ root_1)
    trace_1, trace_2 = root_1.square().sum(), covariance_2.trace()
    return float((mean_1 - mean_2).square().sum() + trace_1 + trace_2 - 2 * eigenvalues.clamp(min=0).sqrt().sum())


def frechet_distance(reals: Tensor, fakes: Tensor) -> float:
    """Return the Fréchet distance of features (N, D) and (M, D), N and M at least 2."""
    moments = []
    for features in (reals, fakes):
        moments.append(Moments(features.shape[1]))
        moments[-1].add(features)
    (real_mean, real_covariance), fake_moments = (each.mean_and_covariance() for each in moments)
    return gaussian_distance(real_mean, matrix_root(real_covariance), *fake_moments)


class FrechetDistance(Metric):
    """Fréchet distance of Gaussians fitted to the features of reals and fakes (Heusel et al. 2017, eq. 6).

    It is called ``fid`` in Inception's features, ``fd_<extractor>`` in others. The reals' mean and the root of their
    covariance are cached next to their features.
    """

    def names(self, extractor: str) -> dict[str, bool]:
        return {score_name(extractor, "fid", "fd"): True}

    def begin(self, comparison: Comparison) -> None:
        (self.name,) = self.names(comparison.extractor)
        device = comparison.device
        reals = comparison.reals.kept("gaussian", lambda: _fitted_gaussian(comparison.reals, device))
        self.real_mean, self.real_root = reals["mean"].to(device), reals["root"].to(device)
        self.fakes = Moments(comparison.dims, device)

    def add(self, batch: Batch) -> None:
        self.fakes.add(batch.values)

    @property
    def sums(self) -> list[Tensor]:
        return self.fakes.sums

    def scores(self, others: Mapping[str, float]) -> dict[str, float]:
        return {self.name: gaussian_distance(self.real_mean, self.real_root, *self.fakes.mean_and_covariance())}


def _fitted_gaussian(reals: Reference, device: torch.device) -> dict[str, Tensor]:
    moments = Moments(reals.values.shape[1], device)
    for features in reals.values.split(1000):
        moments.add(features)
    mean, covariance = moments.mean_and_covariance()
    return {"mean": mean, "root": matrix_root(covariance)}
