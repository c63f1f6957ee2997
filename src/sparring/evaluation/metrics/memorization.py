"""Whether a generator copies its training images."""

import torch
from torch import Tensor
from torchvision.utils import make_grid

from sparring.data.image_grids import enlarged
from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.image_sets import like
from sparring.evaluation.metrics.base import Comparison, Count, Metric, score_name, store_first
from sparring.evaluation.metrics.knn import REFERENCE_CHUNK, nearest_by_angle


class Memorization(Metric):
    """The distance d = 1 - |cos| of each fake's features to the nearest real's.

    ``authenticity`` (Alaa et al. 2022): share of fakes that are farther from their nearest real than that real is from
    its own nearest real. About a half if fakes are new draws of the same distribution, lower if they are copies.
    ``mifid`` (Bai et al. 2021): FID over the mean of d, where that is below .1; needs FID among the metrics.
    The picture shows fakes with the reals that are nearest to each. Reals that are left out of the comparison
    (``evaluation.reals``) can't be found.

    Args:
        shown: fakes in the picture.
        neighbours: reals next to each.
    """

    builds_on_others = True
    modalities = ("images",)
    score_names = {"authenticity": False, "mifid": True}

    def __init__(self, shown: Count = 12, neighbours: Count = 5):
        self.shown, self.neighbours = shown, neighbours

    def begin(self, comparison: Comparison) -> None:
        self.fid_name, self.name = (score_name(name, comparison.extractor) for name in ("fid", "mifid"))
        device, count = comparison.device, comparison.count
        self.reals = comparison.reals
        self.values = comparison.reals.values.to(device)  # on a CPU they stay on the disk
        self.norms = torch.cat([part.norm(dim=1) for part in self.values.split(REFERENCE_CHUNK)])
        self.neighbours = min(self.neighbours, len(self.reals))
        self.distance = torch.zeros(count, device=device)
        self.nearest = torch.zeros(count, dtype=torch.int64, device=device)
        shown, shape = min(self.shown, count), comparison.reals.images.images(range(1)).shape[1:]
        self.shown_neighbours = torch.zeros(shown, self.neighbours, dtype=torch.int64, device=device)
        self.shown_images = torch.zeros(shown, *shape, dtype=torch.uint8, device=device)
        self.sums = [self.nearest, self.distance, self.shown_neighbours, self.shown_images]

    def add(self, batch: Batch) -> None:
        distance, nearest = nearest_by_angle(batch.values, self.values, self.norms, self.neighbours)
        rows = batch.rows.to(distance.device)
        self.distance[rows], self.nearest[rows] = distance[:, 0], nearest[:, 0]
        if (batch.rows < len(self.shown_images)).any():
            store_first(self.shown_neighbours, rows, nearest)
            store_first(self.shown_images, batch.rows, like(batch.images, self.shown_images.shape[1:]))

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        reals, position = self.nearest.unique(return_inverse=True)
        parts = [self.reals.values[rows.cpu()] for rows in reals.split(100)]
        spacing = torch.cat([nearest_by_angle(part, self.values, self.norms, 2)[0][:, 1] for part in parts])
        scores = {"authenticity": float((self.distance > spacing[position]).float().mean())}
        if self.fid_name in others:
            distance = max(float(self.distance.mean()), 0.0) + 1e-14  # torchmetrics' guards, for exact copies
            fid = others[self.fid_name] if others[self.fid_name] > 1e-8 else 0.0
            scores[self.name] = fid / (distance if distance < 0.1 else 1)
        return scores

    def protocol(self) -> dict[str, float | str]:
        return {"reals": len(self.reals), "distance": "1 - |cos|"}

    def pictures(self) -> dict[str, Tensor]:
        """Return a picture with a row for each fake: the fake, a gap, and the nearest reals, nearest first."""
        nearest = self.reals.images.images(self.shown_neighbours.flatten().tolist())
        fakes = make_grid(enlarged(self.shown_images.cpu()), 1, pad_value=255)
        reals = make_grid(enlarged(nearest), self.neighbours, pad_value=255)
        gap = torch.full((3, fakes.shape[1], fakes.shape[2] // 3), 255, dtype=torch.uint8)
        return {"neighbours": torch.cat([fakes, gap, reals], 2)}
