"""The images that the classifiers of an augmentation study are trained and tested on."""

import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.evaluation.classifier_training import held_out
from sparring.evaluation.image_sets import like
from sparring.evaluation.sampler import Sampler
from sparring.randomness import generator

Columns = dict[str, Tensor]  # arrays of equal length: images (N, C, H, W) uint8, labels (N,) int64
SIDE = 32  # pixels that the classifier sees
MAX_TEST_IMAGES = 10_000
MIN_UNSEEN = 10  # held-out images of each class for these to be the test images


def divide(
    data: Data, trained_on: Tensor | None, test: Data | None
) -> tuple[Columns, list[tuple[Tensor, Tensor]], dict]:
    """Divide reals into images to train on and images to test on, which have none in common.

    Arguments are those of AugmentationStudy.

    Returns:
        ``rows`` of ``data`` to train on with their ``labels``; test images and labels for each class; and facts for the
        protocol.

    Raises:
        UserError: data without labels or images, or no test image of a class.
    """
    key = "evaluation=augmentation"
    if "labels" not in data.columns:
        raise UserError(f"{key} trains a classifier of the data's labels, and these data have none")
    if data.columns["images"].dtype != torch.uint8:
        raise UserError(f"{key} trains a classifier of images, and these data are {data.modality.name}")
    if test is not None and test.class_names != data.class_names:
        raise UserError(
            f"{key}: the test images ({test.name}) have other classes than the training images ({data.name})"
        )
    classes, labels = len(data.class_names), data.columns["labels"].cpu()
    learnt = seen = torch.arange(len(data)) if trained_on is None else trained_on.cpu()
    unseen = torch.ones(len(data), dtype=torch.bool).index_fill(0, seen, False).nonzero()[:, 0]
    test_is_seen = False
    if test is not None:
        rows, source = torch.arange(len(test)), f"another split ({test.name}, {test.key})"
    elif labels[unseen].bincount(minlength=classes).min() >= MIN_UNSEEN:
        rows, source = unseen, "images held out from the generator"
    else:
        (learnt, rows), test_is_seen = (seen[part] for part in held_out(len(seen))), True
        source = "a fifth of the images that the generator was trained on"
    rows = rows[torch.randperm(len(rows), generator=generator("augmentation test"))[:MAX_TEST_IMAGES]]
    test_data = data if test is None else test
    test_labels, shape = test_data.columns["labels"][rows].cpu(), small(data.columns["images"][:1]).shape[1:]
    by_class = []
    for label, name in enumerate(data.class_names):
        own = test_labels == label
        if not own.any():
            raise UserError(f"{key}: among the test images, {source}, there is none of class {name}")
        by_class.append((like(test_data.columns["images"][rows[own]], shape), test_labels[own]))
    facts = {
        "generator_trained_on": len(seen),
        "test_images": len(rows),
        "test_source": source,
        "test_seen_by_generator": test_is_seen,
    }
    return {"rows": learnt, "labels": labels[learnt]}, by_class, facts


def choose(data: Data, pool: Columns, counts: Tensor, draws: torch.Generator) -> Columns:
    """Draw ``counts`` (classes,) reals of each class from the ``rows`` of a pool, in random order."""
    order = torch.randperm(len(pool["rows"]), generator=draws)
    chosen = take({name: column[order] for name, column in pool.items()}, counts)
    return {"images": small(data.columns["images"][chosen["rows"]]), "labels": chosen["labels"]}


def generate(sampler: Sampler, count: int, classes: int) -> Columns:
    """Generate ``count`` fakes of each class."""
    labels = torch.arange(count * classes) % classes
    latents = sampler.latents("augmentation", len(labels))
    passes = zip(latents.split(sampler.batch_size), labels.split(sampler.batch_size), strict=True)
    return {"images": torch.cat([small(sampler.show(*given)).cpu() for given in passes]), "labels": labels}


def take(columns: Columns, counts: Tensor) -> Columns:
    """Return the first ``counts`` (classes,) rows of each class; a class with fewer is repeated."""
    members = [(columns["labels"] == label).nonzero()[:, 0] for label in range(len(counts))]
    rows = torch.cat([own[torch.arange(n) % len(own)] for own, n in zip(members, counts.tolist(), strict=True)])
    return {name: column[rows] for name, column in columns.items()}


def join(one: Columns, other: Columns) -> Columns:
    return {name: torch.cat([one[name], other[name]]) for name in one}


def small(images: Tensor) -> Tensor:
    """Shrink uint8 images (batch, C, H, W) to at most the size that the classifier sees."""
    return like(images, [images.shape[1], *(min(side, SIDE) for side in images.shape[2:])])
