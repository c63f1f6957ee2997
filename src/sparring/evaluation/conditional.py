"""Scores class by class: is each one there, does it look like itself, and could it stand in for the data?"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torchvision.transforms.functional import resize

from sparring.evaluation.classifier import accuracy, held_out, train
from sparring.evaluation.features import Batch
from sparring.evaluation.metric import Comparison, Metric, Rows, named
from sparring.evaluation.metrics import ClassCoverage, ready_distance
from sparring.evaluation.sets import like

LISTED = 100  # classes; of more, no value of a single class is given


class IntraClassFrechetDistance(Metric):
    """The mean over classes of the Fréchet distance between a class's fakes and its reals (Miyato & Koyama 2018).

    ``intra_fid`` in Inception's features, and ``intra_fid_worst``, that of the worst class. Keeps all features of the
    fakes: 8 KiB each at 2048 dimensions. Classes with fewer than two fakes or reals are left out and counted in the protocol.
    """

    needs_labels = True

    def names(self, extractor: str) -> dict[str, bool]:
        name = named(extractor, "intra_fid", "intra_fd")
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


class PerClass(IntraClassFrechetDistance):
    """The Fréchet distance, recall and coverage of each class, and in which it is worst.

    To the scores of IntraClassFrechetDistance it adds ``class_recall``, the mean over classes of the share of a class's
    reals that lie among the fakes of that class (Kynkäänniemi et al. 2019), and ``class_coverage``, that of the shares with
    a fake close by (Naeem et al. 2020; unlike recall it does not grow by fakes that are scattered far from the reals);
    ``..._worst``; and all three of each class by its number, as ``class_recall_7`` (of data with at most 100 classes).

    Args:
        k: neighbour that bounds a fake's ball, for recall.
        coverage_k: neighbour that bounds a real's ball, for coverage.
    """

    def __init__(self, k: int = 3, coverage_k: int = 5):
        self.k, self.coverage_k, self.listed = k, coverage_k, []

    def names(self, extractor: str) -> dict[str, bool]:
        distance = next(iter(super().names(extractor)))
        low = {distance: True, "class_recall": False, "class_coverage": False}
        ends = ["", "_worst", *(f"_{label}" for label in self.listed)]
        return {f"{name}{end}": low[name] for name in low for end in ends}

    def begin(self, comparison: Comparison) -> None:
        super().begin(comparison)
        classes = comparison.reals.images.labels.unique().tolist()
        self.listed = classes if len(classes) <= LISTED else []

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        values = {
            label: (
                frechet_distance(reals, fakes),
                recall(reals, fakes, self.k),
                coverage(reals, fakes, self.coverage_k),
            )
            for label, reals, fakes in self._classes()
        }
        scores = {}
        for i, (name, worst) in enumerate([(self.name, max), ("class_recall", min), ("class_coverage", min)]):
            each = {label: row[i] for label, row in values.items()}
            scores |= {name: sum(each.values()) / len(each), f"{name}_worst": worst(each.values())} if each else {}
            scores |= {f"{name}_{label}": value for label, value in each.items() if label in self.listed}
        return scores

    def protocol(self) -> dict[str, float | str]:
        return super().protocol() | {"recall_k": self.k, "coverage_k": self.coverage_k}


class ClassShares(ClassCoverage):
    """To the scores of ClassCoverage it adds ``class_share_<number>``: the share of fakes that are seen as a class.

    For generators with and without labels; of a head of at most 100 classes. The head must be of the data's own classes for
    these to mean something, as that of ``evaluation/extractor=classifier`` is.
    """

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        scores = super().scores(found)
        if len(self.found) <= LISTED:
            scores |= {f"class_share_{label}": count / self.count for label, count in enumerate(self.found.tolist())}
        return scores


def frechet_distance(reals: Tensor, fakes: Tensor) -> float:
    """The Fréchet distance between features (N, D) and (M, D), N and M at least 2."""
    distance = ready_distance(reals.shape[1])
    distance.update(reals, real=True)
    distance.update(fakes, real=False)
    return float(distance.compute())


def recall(reals: Tensor, fakes: Tensor, k: int) -> float:
    """The share of reals (N, D) that lie no farther from some fake (M, D) than the k-th nearest other fake does."""
    radius = _radius(fakes, k)
    within = [(torch.cdist(part, fakes) <= radius).any(1) for part in reals.split(1000)]
    return float(torch.cat(within).double().mean())


def coverage(reals: Tensor, fakes: Tensor, k: int) -> float:
    """The share of reals (N, D) that have a fake (M, D) nearer than the k-th nearest other real is."""
    nearest = torch.cat([torch.cdist(part, fakes).amin(1) for part in reals.split(1000)])
    return float((nearest < _radius(reals, k)).double().mean())


def _radius(values: Tensor, k: int) -> Tensor:
    """The distance of every point (N, D) to its k-th nearest other one, (N,)."""
    k = min(k, len(values) - 1)
    return torch.cat([torch.cdist(part, values).topk(k + 1, largest=False).values[:, k] for part in values.split(1000)])


class ClassificationAccuracyScore(Metric):
    """How well a classifier that learnt from fakes alone recognises held-out reals (Ravuri & Vinyals 2019).

    Beside it stand the reverse, one that learnt from reals and is shown fakes (GAN-test of Shmelkov et al. 2018), and the
    ceiling, one that learnt from reals and is shown held-out reals. Held out is a fifth of the reals that are scored with: of the
    training split the generator has seen them, so choose data.split=test where there is one. The paper trains a ResNet-50; here it is the small network of
    ``sparring.evaluation.classifier``, which sees at most 32 pixels, so compare with the ceiling and not with the paper.

    Args:
        steps: batches of 128 that each is trained on, but at most six epochs or, of few images, 150 batches.
    """

    needs_features = False
    needs_labels = True
    takes = ("images",)
    seen = 32  # pixels of a side that are kept

    def __init__(self, steps: int = 600):
        self.steps = steps

    def names(self, extractor: str) -> dict[str, bool]:
        name = "classification_accuracy"
        return dict.fromkeys([f"{name}_score", f"{name}_reverse", f"{name}_reals"], False)

    def begin(self, comparison: Comparison) -> None:
        self.reals, self.device = comparison.reals.images, comparison.device
        self.shape = self._small(self.reals.images(range(1))).shape[1:]
        self.images = torch.zeros(comparison.count, *self.shape, dtype=torch.uint8)
        self.labels = torch.zeros(comparison.count, dtype=torch.int64)

    def add(self, batch: Batch) -> None:
        self.images[batch.rows] = like(batch.images, self.shape).cpu()
        self.labels[batch.rows] = batch.labels

    @property
    def sums(self) -> list[Tensor]:
        return [self.images, self.labels]

    def scores(self, found: dict[str, float]) -> dict[str, float]:
        count = len(self.reals)
        reals = torch.cat([self._small(self.reals.images(rows)) for rows in _chunks(count)])
        learnt, tested = held_out(count)
        known = self.reals.labels
        options = (int(known.max()) + 1, self.device, self.steps)
        of_fakes = train(self.images, self.labels, *options)
        of_reals = train(reals[learnt], known[learnt], *options)
        values = [
            accuracy(of_fakes, reals[tested], known[tested]),
            accuracy(of_reals, self.images, self.labels),
            accuracy(of_reals, reals[tested], known[tested]),
        ]
        return dict(zip(self.names(""), values, strict=True))

    def protocol(self) -> dict[str, float | str]:
        return {"classifier": "three convolutions at 32 pixels", "steps": self.steps}

    def _small(self, images: Tensor) -> Tensor:
        return resize(images, self.seen, antialias=True) if min(images.shape[-2:]) > self.seen else images


def _chunks(count: int, size: int = 1000) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
