"""Fréchet distance class by class."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, FeaturesMetric
from sparring.evaluation.metrics.frechet_distance import frechet_distance


class IntraClassFrechetDistance(FeaturesMetric):
    """The mean over classes of the Fréchet distance of a class's fakes and its reals (Miyato & Koyama 2018).

    ``intra_fid`` in Inception's features, with ``intra_fid_worst`` of the worst class. Keeps the features of all fakes,
    8 KiB each at 2048 dimensions. Classes with fewer than two fakes or reals are left out and counted in the protocol.
    """

    needs_labels = True
    score_names = {"intra_fid": True}
    listed: Sequence[int] = ()  # the classes whose own scores are given

    def names(self, extractor: str) -> dict[str, bool]:
        ends = ["", "_worst", *(f"_{label}" for label in self.listed)]
        return {f"{name}{end}": lower for name, lower in super().names(extractor).items() for end in ends}

    def begin(self, comparison: Comparison) -> None:
        assert comparison.reals.images.labels is not None
        self.reals, self.real_labels = comparison.reals.values, comparison.reals.images.labels
        self.means, self.left_out = super().names(comparison.extractor), 0
        self.store(torch.arange(comparison.count), comparison)
        self.labels = torch.zeros(comparison.count, dtype=torch.int64)
        self.sums.append(self.labels)

    def add(self, batch: Batch) -> None:
        super().add(batch)
        assert batch.labels is not None
        self.labels[batch.rows] = batch.labels

    def class_scores(self, reals: Tensor, fakes: Tensor) -> list[float]:
        """Return the scores of a class, in the order of ``score_names``, from its features (N, D) and (M, D)."""
        return [frechet_distance(reals, fakes)]

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        rows = {}
        for label in self.real_labels.unique().tolist():
            reals, fakes = self.reals[self.real_labels == label], self.features[self.labels == label].cpu()
            if min(len(reals), len(fakes)) < 2:
                self.left_out += 1
            else:
                rows[label] = self.class_scores(reals, fakes)
        scores = {}
        for (name, lower), values in zip(self.means.items(), zip(*rows.values(), strict=True), strict=False):
            scores |= {name: sum(values) / len(values), f"{name}_worst": max(values) if lower else min(values)}
            scores |= {f"{name}_{k}": value for k, value in zip(rows, values, strict=True) if k in self.listed}
        return scores

    def protocol(self) -> dict[str, float | str]:
        return {"classes_left_out": self.left_out}
