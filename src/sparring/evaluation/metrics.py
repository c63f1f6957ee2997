"""Scores of a set of fakes beside the reals, all made of the same features."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from sparring.evaluation.features import Features
from sparring.randomness import generator


class Metric(ABC):
    """One or a few scores.

    Attributes:
        lower_is_better: names of the scores that fall as images get better; the rest rise.
    """

    lower_is_better: frozenset[str] = frozenset()

    @abstractmethod
    def __call__(self, reals: Features, fakes: Features) -> dict[str, float]:
        """Scores by name."""


class FrechetDistance(Metric):
    """|mu_r - mu_f|^2 + tr(C_r + C_f - 2 (C_r C_f)^(1/2)) of the features' means and covariances (Heusel et al. 2017).

    It is called FID only with Inception's features; with others it has their name.

    Args:
        name: of the score.
    """

    def __init__(self, name: str = "fd_classifier"):
        self.name = name
        self.lower_is_better = frozenset({name})

    def __call__(self, reals: Features, fakes: Features) -> dict[str, float]:
        from torchmetrics.image.fid import FrechetInceptionDistance

        distance = FrechetInceptionDistance(feature=_Ready(reals.values.shape[1])).set_dtype(torch.float64)
        distance.update(reals.values, real=True)
        distance.update(fakes.values, real=False)
        return {self.name: float(distance.compute())}


class _Ready(nn.Module):
    """Stands where torchmetrics expects a network, and hands on features that are ready."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, values: Tensor) -> Tensor:
        return values


class ClassifierScore(Metric):
    """exp E KL(p(y|x) || p(y)), the mean over splits: the Inception Score's formula on another classifier (Salimans et al. 2016).

    Between 1 and the number of classes. Computed as torch-fidelity does, its shuffling included.
    """

    def __init__(self, splits: int = 10):
        self.splits = splits

    def __call__(self, reals: Features, fakes: Features) -> dict[str, float]:
        from torch_fidelity.metric_isc import isc_features_to_metric

        return {"classifier_score": isc_features_to_metric(fakes.logits, self.splits)["inception_score_mean"]}


class PrecisionRecall(Metric):
    """Shares of fakes within the reals' manifold and of reals within the fakes' (Kynkäänniemi et al. 2019), in [0, 1].

    Args:
        neighborhood: k of the k-th nearest neighbour that makes the radius of each ball.
        samples: at most so many of each are compared, chosen at random (data sets are often sorted by class).
    """

    def __init__(self, neighborhood: int = 3, samples: int = 10_000):
        self.neighborhood = neighborhood
        self.samples = samples

    def __call__(self, reals: Features, fakes: Features) -> dict[str, float]:
        from torch_fidelity.metric_prc import calculate_precision_recall_part

        chosen = [
            set_.values[torch.randperm(len(set_), generator=generator("precision"))[: self.samples]]
            for set_ in (fakes, reals)
        ]
        precision, recall = calculate_precision_recall_part(*chosen, self.neighborhood)
        return {"precision": precision, "recall": recall}


class ClassCoverage(Metric):
    """Which classes the classifier sees among the fakes.

    ``classes_covered``: how many have at least a tenth of the share that they have among the reals. ``class_entropy``:
    entropy of the fakes' classes in nats, ln(classes) when all are alike. ``label_accuracy``: share of fakes seen as
    the class that was asked for (conditional models only).
    """

    def __call__(self, reals: Features, fakes: Features) -> dict[str, float]:
        classes = fakes.logits.shape[1]
        seen = fakes.logits.argmax(1)
        found = seen.bincount(minlength=classes)
        known = reals.logits.argmax(1).bincount(minlength=classes)
        scores = {
            "classes_covered": int(((10 * found * len(reals) >= known * len(fakes)) & (found > 0)).sum()),
            "class_entropy": float(torch.special.entr(found / len(fakes)).sum()),
        }
        if fakes.labels is not None:
            scores["label_accuracy"] = float((seen == fakes.labels).float().mean())
        return scores
