"""Scores of generators that are told a class: does each class look like itself, and could it stand in for the data?"""

import torch
from torch import Tensor
from torchvision.transforms.functional import resize

from sparring.evaluation.classifier import accuracy, held_out, train
from sparring.evaluation.features import Batch
from sparring.evaluation.metric import Comparison, Metric, Rows, named
from sparring.evaluation.metrics import ready_distance
from sparring.evaluation.sets import like


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
        self.name, _ = self.names(comparison.extractor)
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
        known = self.reals.images.labels
        values = []
        for label in known.unique().tolist():
            reals, fakes = self.reals.values[known == label], self.fakes.values[self.labels == label].cpu()
            if min(len(reals), len(fakes)) < 2:
                self.left_out += 1
                continue
            distance = ready_distance(reals.shape[1])
            distance.update(reals, real=True)
            distance.update(fakes, real=False)
            values.append(float(distance.compute()))
        return {self.name: sum(values) / len(values), f"{self.name}_worst": max(values)} if values else {}

    def protocol(self) -> dict[str, float | str]:
        return {"classes_left_out": self.left_out}


class ClassificationAccuracyScore(Metric):
    """How well a classifier that learnt from fakes alone recognises held-out reals (Ravuri & Vinyals 2019).

    Beside it stand the reverse, one that learnt from reals and is shown fakes (GAN-test of Shmelkov et al. 2018), and the
    ceiling, one that learnt from reals and is shown held-out reals. Held out is a fifth of the reals that are scored with: of the
    training split the generator has seen them, so choose data.split=test where there is one. The paper trains a ResNet-50; here it is the small network of
    ``sparring.evaluation.classifier``, which sees at most 32 pixels, so compare with the ceiling and not with the paper.

    Args:
        steps: batches of 128 that each is trained on, but at most six epochs.
    """

    needs_labels = True
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
