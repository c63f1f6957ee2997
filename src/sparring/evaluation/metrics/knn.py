"""Nearest neighbours in feature space, in chunks: no matrix of all pairs is in memory."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

CHUNK = 1000  # points whose distances to all others are in memory
REFERENCE_CHUNK = 10_000  # references that a batch of queries is compared with


def neighbour_radii(points: Tensor, ks: list[int]) -> list[Tensor]:
    """Return, for each k, the Euclidean distance (N,) of every point (N, D) to its k-th nearest other point.

    With fewer than k other points it is the distance to the farthest.
    """
    count = min(max(ks) + 1, len(points))  # a point's nearest is itself
    nearest = torch.cat([torch.cdist(part, points).topk(count, largest=False).values for part in points.split(CHUNK)])
    return [nearest[:, min(k, count - 1)] for k in ks]


def neighbourhood_scores(reals: Tensor, fakes: Tensor, k: int, density_k: int) -> dict[str, float]:
    """Return precision, recall, density and coverage of fakes (M, D) among reals (N, D).

    A ball around each point reaches to its k-th nearest neighbour in its own set.

    ``precision`` and ``recall`` (Kynkäänniemi et al. 2019, eq. 1-2), with closed balls of k: the share of fakes in some
    real's ball, and of reals in some fake's. ``density`` and ``coverage`` (Naeem et al. 2020, eq. 3-4), with open balls
    of density_k: the mean number of reals' balls that hold a fake, over density_k, and the share of reals whose ball
    holds a fake.
    """
    (fake_radius,) = neighbour_radii(fakes, [k])
    real_radius, density_radius = neighbour_radii(reals, [k, density_k])
    precise = torch.zeros(len(fakes), dtype=torch.bool, device=fakes.device)
    recalled, covered, hits = 0, 0, 0
    for rows in torch.arange(len(reals), device=fakes.device).split(CHUNK):
        distances = torch.cdist(reals[rows], fakes)  # (CHUNK, M)
        precise |= (distances <= real_radius[rows, None]).any(0)
        recalled += int((distances <= fake_radius).any(1).sum())
        within = distances < density_radius[rows, None]
        hits += int(within.sum())
        covered += int(within.any(1).sum())
    return {
        "precision": float(precise.float().mean()),
        "recall": recalled / len(reals),
        "density": hits / (density_k * len(fakes)),
        "coverage": covered / len(reals),
    }


def nearest_by_angle(queries: Tensor, references: Tensor, norms: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the distances 1 - |cos| (batch, count) of queries (batch, D) to their nearest references, and which.

    Nearest first. References are (N, D), ``norms`` (N,) their lengths.
    """
    directions = normalize(queries.to(references.device), dim=1)
    best, rows = [], []
    for start in range(0, len(references), REFERENCE_CHUNK):
        part = slice(start, start + REFERENCE_CHUNK)
        cosines = (directions @ references[part].T).div_(norms[part].clamp(min=1e-12)).abs_()
        nearest = cosines.topk(min(count, cosines.shape[1]))
        best.append(nearest.values)
        rows.append(nearest.indices + start)
    nearest = torch.cat(best, 1).topk(count)
    return 1 - nearest.values, torch.cat(rows, 1).gather(1, nearest.indices)
