"""Scores class by class: is each one there, does it look like itself, and could it stand in for the data?"""

from collections.abc import Iterator

import torch
from torch import Tensor

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, Metric, Rows, score_name
from sparring.evaluation.metrics.frechet_distance import ready_distance


class IntraClassFrechetDistance(Metric):
    """The mean over classes of the Fréchet distance between a class's fakes and its reals (Miyato & Koyama 2018).

    ``intra_fid`` in Inception's features, and ``intra_fid_worst``, that of the worst class. Keeps all features of the
    fakes: 8 KiB each at 2048 dimensions. Classes with fewer than two fakes or reals are left out and counted in the protocol.
    """

    needs_labels = True

    def names(self, extractor: str) -> dict[str, bool]:
        name = score_name(extractor, "intra_fid", "intra_fd")
        return {name: True, f"{name}_worst": True}

    def begin(self, comparison: Comparison) -> None:
        self.name = next(iter(self.names(comparison.extractor)))
        self.reals = comparison.reals
        self.fakes = Rows(torch.arange(comparison.count), comparison)
        self.labels = torch.zeros(comparison.count, dtype=torch.int64)
        self.left_out = 0

    def add(self, batch: Batch) -> None:
        self.fakes.add(batch)
        self.labels[batch.rows] = batch.labels

    @property
    def sums(self) -> list[Tensor]:
        return [self.fakes.values, self.labels]

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        values = [frechet_distance(reals, fakes) for _, reals, fakes in self._classes()]
        return {self.name: sum(values) / len(values), f"{self.name}_worst": max(values)} if values else {}

    def protocol(self) -> dict[str, float | str]:
        return {"classes_left_out": self.left_out}

    def _classes(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Number, reals' and fakes' features of every class that has enough of them."""
        known = self.reals.images.labels
        for label in known.unique().tolist():
            reals, fakes = self.reals.values[known == label], self.fakes.values[self.labels == label].cpu()
            if min(len(reals), len(fakes)) < 2:
                self.left_out += 1
            else:
                yield label, reals, fakes


def frechet_distance(reals: Tensor, fakes: Tensor) -> float:
    """The Fréchet distance between features (N, D) and (M, D), N and M at least 2."""
    distance = ready_distance(reals.shape[1])
    distance.update(reals, real=True)
    distance.update(fakes, real=False)
    return float(distance.compute())
