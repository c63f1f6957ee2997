"""Sets of images that a generator makes: of latents, or as answers to held-out examples."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparring.evaluation.gallery import Gallery
from sparring.evaluation.sets import Decoded, ImageSet, Subset, like
from sparring.randomness import generator


class Generated(ImageSet):
    """Samples 0, 1, ... of a gallery; asked for in ranges.

    Args:
        gallery: makes the images.
        count: how many.
        image_size: height and width that it makes.
        labels: of a conditional generator: the labels of the reals, from which as many are taken in a fixed order.
        beside: examples that it was trained on, where it is compared with others: what could be reached.
    """

    name = "generator"

    def __init__(
        self,
        gallery: Gallery,
        count: int,
        image_size: tuple[int, ...],
        labels: Tensor | None = None,
        beside: Decoded | None = None,
    ):
        self.gallery, self.count, self.image_size = gallery, count, image_size
        self.identity, self.facts = {}, {"batch_norm": gallery.batch_norm}
        self.facts |= gallery.game.facts(gallery.producer)
        self.lower_is_better = gallery.game.lower_is_better
        self.beside = beside
        if beside is not None:
            self.baselines = [beside if len(beside) <= count else Subset(beside, count)]
        if labels is not None:
            order = torch.randperm(len(labels), generator=generator(gallery.seed, "evaluation labels"))
            self.labels = labels[order.repeat(-(-count // len(labels)))[:count]]

    def __len__(self) -> int:
        return self.count

    def own_scores(self, baseline: ImageSet | None = None) -> dict[str, float]:
        return self.gallery.own_scores(*((self.beside.columns, len(baseline)) if baseline else ()))

    def images(self, rows: range) -> Tensor:
        labels = None if self.labels is None else self.labels[rows.start : rows.stop]
        return self.gallery.show(self.gallery.latents("evaluation", len(rows), rows.start), labels)


class Answers(ImageSet):
    """What a translating gallery makes of its held-out examples, or a ``baseline`` beside it.

    Args:
        gallery: makes the images.
        count: how many; the first ones.
        baseline: the name of one of the game's baselines; None for the producer's own images.
    """

    identity: dict = {}

    def __init__(self, gallery: Gallery, count: int, baseline: str | None = None):
        self.gallery, self.count, self.baseline = gallery, min(count, gallery.example_count), baseline
        self.shape = gallery.show(None, gallery.inputs(range(1))).shape[1:]
        self.name, self.image_size = baseline or "generator", tuple(self.shape[1:])
        self.facts = {"batch_norm": gallery.batch_norm, "of": f"held-out examples ({gallery.example_count:,})"}

    def __len__(self) -> int:
        return self.count

    def images(self, rows: range) -> Tensor:
        inputs = self.gallery.inputs(rows)
        if self.baseline is None:
            return self.gallery.show(None, inputs)
        images = self.gallery.game.baselines(inputs, self.image_size)[self.baseline]
        return like(self.gallery.game.as_data(images), self.shape)

    def targets(self, rows: range) -> Tensor | None:
        known = self.gallery.examples.get("images")
        return None if known is None else known[rows.start : rows.stop]

    @property
    def baselines(self) -> Sequence["Answers"]:
        """What stands beside them, made of the same inputs."""
        some = self.gallery.inputs(range(1))
        return [Answers(self.gallery, self.count, name) for name in self.gallery.game.baselines(some, self.image_size)]
