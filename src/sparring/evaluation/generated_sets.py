"""Generated sets of images to score: samples from latents, or outputs for held-out inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparring.evaluation.image_sets import Decoded, ImageSet, at_most, like
from sparring.evaluation.references import References
from sparring.evaluation.sampler import Sampler
from sparring.randomness import generator


def fakes_of(
    sampler: Sampler, count: int, references: References, image_size: tuple[int, ...] | None = None
) -> ImageSet:
    """Return ``count`` fakes to compare with references: samples, or outputs of a game that translates.

    They have the ``image_size`` of the reals, unless it is given.
    """
    if sampler.game.translates:
        return Translated(sampler, count)
    labels = references.images.labels if sampler.game.conditional else None
    if sampler.game.conditional and labels is None:  # the reals' classes are unknown: each comes equally often
        labels = torch.arange(sampler.num_classes)
    return Generated(sampler, count, image_size or references.images.image_size, labels, references.training)


class Generated(ImageSet):
    """Samples 0, 1, ... of a sampler; asked for in ranges.

    Args:
        sampler: generates the images.
        count: how many.
        image_size: height and width of what it generates.
        labels: of a conditional generator: labels of the reals. As many as needed are taken, in an order of the seed.
        training: examples that it was trained on, if it is compared with others: a baseline of what can be reached.
    """

    name = "generator"

    def __init__(
        self,
        sampler: Sampler,
        count: int,
        image_size: tuple[int, ...],
        labels: Tensor | None = None,
        training: Decoded | None = None,
    ):
        self.sampler, self.count, self.image_size, self.training = sampler, count, image_size, training
        self.facts = {"batch_norm": sampler.batch_norm} | sampler.game.facts(sampler.producer)
        self.lower_is_better = sampler.game.lower_is_better
        if training is not None:
            self.baselines = [at_most(training, count)]
        if labels is not None:
            order = torch.randperm(len(labels), generator=generator(sampler.seed, "evaluation labels"))
            self.labels = labels[order.repeat(-(-count // len(labels)))[:count]]

    def __len__(self) -> int:
        return self.count

    def images(self, rows: range) -> Tensor:
        labels = None if self.labels is None else self.labels[rows.start : rows.stop]
        return self.sampler.show(self.sampler.latents("evaluation", len(rows), rows.start), labels)

    def own_scores(self, baseline: ImageSet | None = None) -> dict[str, float]:
        if baseline is None or self.training is None:
            return self.sampler.own_scores()
        return self.sampler.own_scores(self.training.columns, len(baseline))


class Translated(ImageSet):
    """Outputs of a game that translates, or of one of its baselines, for the first ``count`` held-out inputs."""

    def __init__(self, sampler: Sampler, count: int, baseline: str | None = None):
        self.sampler, self.count, self.baseline = sampler, min(count, sampler.example_count), baseline
        self.shape = sampler.show(None, sampler.inputs(range(1))).shape[1:]
        self.name, self.image_size = baseline or "generator", (self.shape[1], self.shape[2])
        self.facts = {"batch_norm": sampler.batch_norm, "of": f"held-out examples ({sampler.example_count:,})"}

    def __len__(self) -> int:
        return self.count

    def images(self, rows: range) -> Tensor:
        inputs = self.sampler.inputs(rows)
        if self.baseline is None:
            return self.sampler.show(None, inputs)
        images = self.sampler.game.baselines(inputs, self.image_size)[self.baseline]
        return like(self.sampler.game.as_data(images), self.shape)

    def targets(self, rows: range) -> Tensor | None:
        targets = (self.sampler.examples or {}).get("images")
        return None if targets is None else targets[rows.start : rows.stop]

    @property
    def baselines(self) -> Sequence["Translated"]:
        names = self.sampler.game.baselines(self.sampler.inputs(range(1)), self.image_size)
        return [Translated(self.sampler, self.count, name) for name in names]
