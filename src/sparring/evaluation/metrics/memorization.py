"""Whether a generator copies what it was trained on."""

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchvision.utils import make_grid

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.image_sets import like
from sparring.evaluation.metrics.base import Comparison, Metric, score_name

CHUNK = 10_000  # reals that are compared at a time


class Memorization(Metric):
    """Each fake beside the real whose features are nearest in angle, d = 1 - |cos|.

    ``authenticity`` (Alaa et al. 2022): share of fakes that are farther from their nearest real than that real is from its
    own nearest fellow. About a half if fakes are new draws of the same distribution, lower when they are copies.
    ``mifid`` (Bai et al. 2021): FID over the mean of d, where that is below .1; needs FID among the metrics.
    The picture shows fakes with the reals that are nearest to each. A real that was left out of the comparison
    (``evaluation.reals``) can't be found.

    Args:
        shown: fakes in the picture.
        neighbours: reals beside each.
    """

    builds_on_others = True
    takes = ("images",)  # of which it shows some

    def __init__(self, shown: int = 12, neighbours: int = 5):
        self.shown, self.neighbours = shown, neighbours

    def names(self, extractor: str) -> dict[str, bool]:
        return {"authenticity": False, score_name(extractor, "mifid", "mifd"): True}

    def begin(self, comparison: Comparison) -> None:
        self.frechet = score_name(comparison.extractor, "fid", "fd")
        _, self.name = self.names(comparison.extractor)
        self.reals, self.count, self.device = comparison.reals, comparison.count, comparison.device
        self.values = comparison.reals.values.to(self.device)  # on a CPU they stay on the disk
        self.lengths = torch.cat([part.norm(dim=1) for part in self.values.split(CHUNK)])
        self.nearest = torch.zeros(self.count, dtype=torch.int64, device=self.device)
        self.distance = torch.zeros(self.count, device=self.device)
        self.neighbours = min(self.neighbours, len(self.reals))
        self.pictured = torch.zeros(min(self.shown, self.count), self.neighbours, dtype=torch.int64, device=self.device)
        shape = comparison.reals.images.images(range(1)).shape[1:]
        self.images = torch.zeros(len(self.pictured), *shape, dtype=torch.uint8, device=self.device)

    def add(self, batch: Batch) -> None:
        distance, nearest = self._nearest(batch.values, self.neighbours)
        rows = batch.rows.to(self.device)
        self.distance[rows], self.nearest[rows] = distance[:, 0], nearest[:, 0]
        if (early := rows < len(self.pictured)).any():
            self.pictured[rows[early]] = nearest[early]
            self.images[rows[early]] = like(batch.images.to(self.device)[early], self.images.shape[1:])

    @property
    def sums(self) -> list[Tensor]:
        return [self.nearest, self.distance, self.pictured, self.images]

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        reals, place = self.nearest.unique(return_inverse=True)
        fellow = torch.cat([self._nearest(self.reals.values[rows.cpu()], 2)[0][:, 1] for rows in reals.split(100)])
        scores = {"authenticity": float((self.distance > fellow[place]).float().mean())}
        if self.frechet in found:
            distance = max(float(self.distance.mean()), 0.0) + 1e-14  # torchmetrics' guards, for exact copies
            fid = found[self.frechet] if found[self.frechet] > 1e-8 else 0.0
            scores[self.name] = fid / (distance if distance < 0.1 else 1)
        return scores

    def protocol(self) -> dict[str, float | str]:
        return {"reals": len(self.reals), "distance": "1 - |cos|"}

    def pictures(self) -> dict[str, Tensor]:
        """A row for each fake: the fake, a gap, and the nearest reals, nearest first."""
        found = self.reals.images.images(self.pictured.flatten().tolist())
        fakes, reals = (
            make_grid(_large(images.cpu()), columns, pad_value=255)
            for images, columns in ((self.images, 1), (found, self.neighbours))
        )
        gap = torch.full((3, fakes.shape[1], fakes.shape[2] // 3), 255, dtype=torch.uint8)
        return {"neighbours": torch.cat([fakes, gap, reals], 2)}

    def _nearest(self, values: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Distances (batch, count) to the nearest reals, ascending, and which these are."""
        directions = normalize(values.to(self.device), dim=1)
        best, rows = [], []
        for start in range(0, len(self.values), CHUNK):
            part = slice(start, start + CHUNK)
            cosines = (directions @ self.values[part].T).div_(self.lengths[part].clamp(min=1e-12)).abs_()
            found = cosines.topk(min(count, cosines.shape[1]))
            best.append(found.values)
            rows.append(found.indices + start)
        nearest = torch.cat(best, 1).topk(count)
        return 1 - nearest.values, torch.cat(rows, 1).gather(1, nearest.indices)


def _large(images: Tensor, side: int = 64) -> Tensor:
    """Small images with each pixel repeated, so that they can be looked at."""
    times = max(round(side / images.shape[-1]), 1)
    return images.repeat_interleave(times, 2).repeat_interleave(times, 3)
