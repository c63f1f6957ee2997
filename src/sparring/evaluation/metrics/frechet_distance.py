"""Fréchet distance of two sets of features; in Inception's features the FID."""

import torch
from torch import Tensor

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, Metric, score_name


class Moments:
    """Running float64 sums of features: count (), sum (D,), sum of outer products (D, D), 32 MiB at D = 2048."""

    def __init__(self, dims: int, device: torch.device):
        self.sums = [torch.zeros(shape, dtype=torch.float64, device=device) for shape in [(), (dims,), (dims, dims)]]

    def add(self, features: Tensor) -> None:
        """Add features (batch, D)."""
        count, total, outer = self.sums
        features = features.to(outer)
        count += len(features)
        total += features.sum(0)
        outer.addmm_(features.T, features)

    def mean_and_covariance(self) -> tuple[Tensor, Tensor]:
        """Return the mean (D,) and the covariance (D, D), unbiased, of at least two features."""
        count, total, outer = self.sums
        mean = total / count
        return mean, (outer - count * mean.outer(mean)) / (count - 1)


def matrix_root(covariance: Tensor) -> Tensor:
    """Return the symmetric square root of a positive semidefinite matrix (D, D)."""
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    return (vectors * eigenvalues.clamp(min=0).sqrt()) @ vectors.T


def gaussian_distance(mean_1: Tensor, root_1: Tensor, mean_2: Tensor, covariance_2: Tensor) -> float:
    """Return the squared Fréchet distance of Gaussians with means (D,) and covariances (D, D) (Dowson & Landau 1982).

        |mu_1 - mu_2|^2 + Tr C_1 + Tr C_2 - 2 Tr (C_1 C_2)^(1/2)

    C_1 C_2 has the eigenvalues of the symmetric matrix R C_2 R, where R = ``root_1`` = C_1^(1/2): the last trace is the
    sum of their square roots. Rounding can make a zero eigenvalue slightly negative.
    """
    eigenvalues = torch.linalg.eigvalsh(root_1 @ covariance_2 @ root_1)
    trace_1, trace_2 = root_1.square().sum(), covariance_2.trace()
    return float((mean_1 - mean_2).square().sum() + trace_1 + trace_2 - 2 * eigenvalues.clamp(min=0).sqrt().sum())


def fitted_gaussian(features: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and the covariance (D, D) of features (N, D), N at least 2."""
    moments = Moments(features.shape[1], device)
    for part in features.split(1000):
        moments.add(part)
    return moments.mean_and_covariance()


def frechet_distance(reals: Tensor, fakes: Tensor) -> float:
    """Return the squared Fréchet distance of Gaussians fitted to features (N, D) and (M, D), N and M at least 2."""
    mean, covariance = fitted_gaussian(reals, reals.device)
    return gaussian_distance(mean, matrix_root(covariance), *fitted_gaussian(fakes, fakes.device))


class FrechetDistance(Metric):
    """Fréchet distance of Gaussians fitted to the features of reals and fakes (Heusel et al. 2017, eq. 6).

    It is called ``fid`` in Inception's features, ``fd_<extractor>`` in others. The reals' mean and the root of their
    covariance are cached next to their features.
    """

    score_names = {"fid": True}

    def begin(self, comparison: Comparison) -> None:
        self.name = score_name("fid", comparison.extractor)
        device, values = comparison.device, comparison.reals.values

        def make() -> dict[str, Tensor]:
            mean, covariance = fitted_gaussian(values, device)
            return {"mean": mean, "root": matrix_root(covariance)}

        reals = comparison.reals.cached("gaussian", make)
        self.real_mean, self.real_root = reals["mean"].to(device), reals["root"].to(device)
        self.fakes = Moments(comparison.dims, device)
        self.sums = self.fakes.sums

    def add(self, batch: Batch) -> None:
        self.fakes.add(batch.values)

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        return {self.name: gaussian_distance(self.real_mean, self.real_root, *self.fakes.mean_and_covariance())}
