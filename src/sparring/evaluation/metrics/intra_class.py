"""Fréchet distance class by class."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, FeaturesMetric, score_name
from sparring.evaluation.metrics.frechet_distance import frechet_distance


class IntraClassFrechetDistance(FeaturesMetric):
    """The mean over classes of the Fréchet distance of a class's fakes and its reals (Miyato & Koyama 2018).

    ``intra_fid`` in Inception's features, with ``intra_fid_worst`` of the worst class. Keeps the features of all fakes,
    8 KiB each at 2048 dimensions. Classes with fewer than two fakes or reals are left out and counted in the protocol.
    """

    needs_labels = True

    def names(self, extractor: str) -> dict[str, bool]:
        name = score_name(extractor, "intra_fid", "intra_fd")
        return {name: True, f"{name}_worst": True}

    def begin(self, comparison: Comparison) -> None:
        self.name = score_name(comparison.extractor, "intra_fid", "intra_fd")
        assert comparison.reals.images.labels is not None
        self.reals, self.real_labels = comparison.reals.values, comparison.reals.images.labels
        self.store(torch.arange(comparison.count), comparison)
        self.labels = torch.zeros(comparison.count, dtype=torch.int64)
        self.sums.append(self.labels)
        self.left_out = 0

    def add(self, batch: Batch) -> None:
        super().add(batch)
        assert batch.labels is not None
        self.labels[batch.rows] = batch.labels

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        distances = [frechet_distance(reals, fakes) for _, reals, fakes in self._classes()]
        return mean_and_worst(self.name, distances, max)

    def protocol(self) -> dict[str, float | str]:
        return {"classes_left_out": self.left_out}

    def _classes(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield the label, the reals' and the fakes' features of every class that has two of each."""
        for label in self.real_labels.unique().tolist():
            reals, fakes = self.reals[self.real_labels == label], self.features[self.labels == label].cpu()
            if min(len(reals), len(fakes)) < 2:
                self.left_out += 1
            else:
                yield label, reals, fakes


def mean_and_worst(name: str, values: list[float], worst: Callable[[list[float]], float]) -> dict[str, float]:
    """Return a score's mean and worst value over classes, by name; nothing without classes."""
    return {name: sum(values) / len(values), f"{name}_worst": worst(values)} if values else {}
