"""Sets of images that a generator makes: of latents, or as answers to held-out examples."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparring.evaluation.image_sets import Decoded, ImageSet, Subset, like
from sparring.evaluation.sampler import Sampler
from sparring.randomness import generator


class Generated(ImageSet):
    """Samples 0, 1, ... of a sampler; asked for in ranges.

    Args:
        sampler: makes the images.
        count: how many.
        image_size: height and width that it makes.
        labels: of a conditional generator: the labels of the reals, from which as many are taken in a fixed order.
        beside: examples that it was trained on, where it is compared with others: what could be reached.
    """

    name = "generator"

    def __init__(
        self,
        sampler: Sampler,
        count: int,
        image_size: tuple[int, ...],
        labels: Tensor | None = None,
        beside: Decoded | None = None,
    ):
        self.sampler, self.count, self.image_size = sampler, count, image_size
        self.identity, self.facts = {}, {"batch_norm": sampler.batch_norm}
        self.facts |= sampler.game.facts(sampler.producer)
        self.lower_is_better = sampler.game.lower_is_better
        self.beside = beside
        if beside is not None:
            self.baselines = [beside if len(beside) <= count else Subset(beside, count)]
        if labels is not None:
            order = torch.randperm(len(labels), generator=generator(sampler.seed, "evaluation labels"))
            self.labels = labels[order.repeat(-(-count // len(labels)))[:count]]

    def __len__(self) -> int:
        return self.count

    def own_scores(self, baseline: ImageSet | None = None) -> dict[str, float]:
        return self.sampler.own_scores(*((self.beside.columns, len(baseline)) if baseline else ()))

    def images(self, rows: range) -> Tensor:
        labels = None if self.labels is None else self.labels[rows.start : rows.stop]
        return self.sampler.show(self.sampler.latents("evaluation", len(rows), rows.start), labels)


class Answers(ImageSet):
    """What a translating sampler makes of its held-out examples, or a ``baseline`` beside it.

    Args:
        sampler: makes the images.
        count: how many; the first ones.
        baseline: the name of one of the game's baselines; None for the producer's own images.
    """

    identity: dict = {}

    def __init__(self, sampler: Sampler, count: int, baseline: str | None = None):
        self.sampler, self.count, self.baseline = sampler, min(count, sampler.example_count), baseline
        self.shape = sampler.show(None, sampler.inputs(range(1))).shape[1:]
        self.name, self.image_size = baseline or "generator", tuple(self.shape[1:])
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
        known = self.sampler.examples.get("images")
        return None if known is None else known[rows.start : rows.stop]

    @property
    def baselines(self) -> Sequence["Answers"]:
        """What stands beside them, made of the same inputs."""
        some = self.sampler.inputs(range(1))
        return [Answers(self.sampler, self.count, name) for name in self.sampler.game.baselines(some, self.image_size)]
