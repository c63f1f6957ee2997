"""Classification accuracy score: a classifier trained on samples, tested on reals."""

import torch
from torch import Tensor
from torchvision.transforms.functional import resize

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.extractors.classifier import accuracy, held_out, train
from sparring.evaluation.image_sets import like
from sparring.evaluation.metrics.base import Comparison, Metric


class ClassificationAccuracyScore(Metric):
    """How well a classifier that learnt from fakes alone recognises held-out reals (Ravuri & Vinyals 2019).

    Beside it stand the reverse, one that learnt from reals and is shown fakes (GAN-test of Shmelkov et al. 2018), and the
    ceiling, one that learnt from reals and is shown held-out reals. Held out is a fifth of the reals that are scored with: of the
    training split the generator has seen them, so choose data.split=test where there is one. The paper trains a ResNet-50; here it is the small network of
    ``sparring.evaluation.extractors.classifier``, which sees at most 32 pixels, so compare with the ceiling and not with the paper.

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
