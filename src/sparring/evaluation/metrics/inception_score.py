"""Inception score."""

import numpy as np
import torch

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison, Count, Metric


class InceptionScore(Metric):
    """exp E_x KL(p(y|x) || p(y)), the mean over splits of the fakes (Salimans et al. 2016, section 4).

    ``inception_score`` of Inception's logits, ``<extractor>_score`` of others; ``..._std`` is the deviation of splits.

    Args:
        splits: number of splits, at most one a fake; fakes are shuffled as torch-fidelity does, to give its numbers.
    """

    needs_logits = True

    def __init__(self, splits: Count = 10):
        self.splits = splits

    def names(self, extractor: str) -> dict[str, bool]:
        return {f"{extractor}_score": False}

    def begin(self, comparison: Comparison) -> None:
        (self.name,) = self.names(comparison.extractor)
        count, splits = comparison.count, min(self.splits, comparison.count)
        order = torch.from_numpy(np.random.RandomState(2020).permutation(count))
        self.split = torch.empty(count, dtype=torch.int64)  # of each fake
        for i in range(splits):
            self.split[order[i * count // splits : (i + 1) * count // splits]] = i
        self.p = torch.zeros(splits, comparison.classes, dtype=torch.float64, device=comparison.device)
        self.negentropy = torch.zeros(splits, dtype=torch.float64, device=comparison.device)  # sum of p log p
        self.sums = [self.p, self.negentropy]

    def add(self, batch: Batch) -> None:
        assert batch.logits is not None
        split = self.split[batch.rows].to(self.p.device)
        log_p = batch.logits.double().log_softmax(1)  # log p(y|x)
        p = log_p.exp()
        self.p.index_add_(0, split, p)
        self.negentropy.index_add_(0, split, (p * log_p).sum(1))

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        sizes = self.split.bincount(minlength=len(self.p)).to(self.p)
        mean_p = self.p / sizes[:, None]  # p(y)
        divergence = self.negentropy / sizes - torch.special.xlogy(mean_p, mean_p).sum(1)  # E KL = H(y) - E H(y|x)
        scores = divergence.exp()
        return {self.name: float(scores.mean()), f"{self.name}_std": float(scores.std(correction=0))}

    def protocol(self) -> dict[str, float | str]:
        return {"splits": len(self.p)}
