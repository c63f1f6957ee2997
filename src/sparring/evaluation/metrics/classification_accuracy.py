"""Classification accuracy score: a classifier trained on fakes, tested on reals."""

import torch
from torch import Tensor
from torchvision.transforms.functional import resize

from sparring.evaluation.classifier_training import accuracy, held_out, train
from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.image_sets import like
from sparring.evaluation.metrics.base import Comparison, Metric, StepCount

SIDE = 32  # pixels of the shorter side that are stored


class ClassificationAccuracyScore(Metric):
    """How well a classifier trained on fakes alone recognises held-out reals (Ravuri & Vinyals 2019).

    ``classification_accuracy_reverse`` is that of one trained on reals and shown fakes (GAN-test of Shmelkov et al.
    2018), ``classification_accuracy_reals`` the ceiling, trained on reals and shown held-out reals. A fifth of the
    reals is held out; of the training split the generator has seen them, so choose data.split=test where there is one.
    The paper trains a ResNet-50, this the small network of ``classifier_training.py``: compare with the ceiling.

    Args:
        steps: batches of 128 for each classifier, but at most six epochs or, of few images, 150 batches.
    """

    needs_features = False
    needs_labels = True
    modalities = ("images",)
    score_names = dict.fromkeys([f"classification_accuracy_{end}" for end in ("score", "reverse", "reals")], False)

    def __init__(self, steps: StepCount = 600):
        self.steps = steps

    def begin(self, comparison: Comparison) -> None:
        self.reals, self.device = comparison.reals.images, comparison.device
        assert self.reals.labels is not None
        self.real_labels = self.reals.labels
        self.shape = _shrunken(self.reals.images(range(1))).shape[1:]
        self.images = torch.zeros(comparison.count, *self.shape, dtype=torch.uint8)
        self.labels = torch.zeros(comparison.count, dtype=torch.int64)
        self.sums = [self.images, self.labels]

    def add(self, batch: Batch) -> None:
        assert batch.labels is not None
        self.images[batch.rows] = like(batch.images, self.shape).cpu()
        self.labels[batch.rows] = batch.labels

    def scores(self, others: dict[str, float]) -> dict[str, float]:
        count, labels = len(self.reals), self.real_labels
        chunks = [range(start, min(start + 1000, count)) for start in range(0, count, 1000)]
        reals = torch.cat([_shrunken(self.reals.images(rows)) for rows in chunks])
        training, test = held_out(count)
        settings = (int(labels.max()) + 1, self.device, self.steps)
        trained_on_fakes = train(self.images, self.labels, *settings)
        trained_on_reals = train(reals[training], labels[training], *settings)
        values = [
            accuracy(trained_on_fakes, reals[test], labels[test]),
            accuracy(trained_on_reals, self.images, self.labels),
            accuracy(trained_on_reals, reals[test], labels[test]),
        ]
        return dict(zip(self.score_names, values, strict=True))

    def protocol(self) -> dict[str, float | str]:
        return {"classifier": f"three convolutions at {SIDE} pixels", "steps": self.steps}


def _shrunken(images: Tensor) -> Tensor:
    return resize(images, [SIDE], antialias=True) if min(images.shape[-2:]) > SIDE else images
