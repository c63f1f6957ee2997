"""Which images the classifiers of an augmentation study learn from, and which they are measured on."""

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
TESTED = 10_000  # test images at most
UNSEEN = 10  # images of each class that must have been kept from the generator for these to be the test images


def divide(
    data: Data, trained_on: Tensor | None, test: Data | None
) -> tuple[Columns, list[tuple[Tensor, Tensor]], dict]:
    """Reals to learn from and reals to measure on, which have no image in common; for the arguments see AugmentationStudy.

    Returns:
        ``rows`` of ``data`` and their ``labels``; test images and labels, class by class; and what the protocol says of them.

    Raises:
        UserError: data without labels or images, or no test image of a class.
    """
    key = "evaluation=augmentation"
    if "labels" not in data.columns:
        raise UserError(f"{key} trains a classifier of the data's labels, and these data have none")
    if data.columns["images"].dtype != torch.uint8:
        raise UserError(f"{key} trains a classifier of images, and these data are {data.modality.name}")
    if test is not None and test.class_names != data.class_names:
        raise UserError(f"{key}: the test images ({test.name}) have other classes than those learnt from ({data.name})")
    classes, labels = len(data.class_names), data.columns["labels"].cpu()
    learnt = known = torch.arange(len(data)) if trained_on is None else trained_on.cpu()
    kept = torch.ones(len(data), dtype=torch.bool).index_fill(0, known, False).nonzero()[:, 0]
    held, seen = data if test is None else test, False
    if test is not None:
        rows, source = torch.arange(len(test)), f"another split ({test.name}, {test.key})"
    elif labels[kept].bincount(minlength=classes).min() >= UNSEEN:
        rows, source = kept, "images that were kept from the generator"
    else:
        (learnt, rows), seen = (known[part] for part in held_out(len(known))), True
        source = "a fifth of the images that the generator was trained on"
    rows = rows[torch.randperm(len(rows), generator=generator("augmentation test"))[:TESTED]]
    marks, size = held.columns["labels"][rows].cpu(), small(data.columns["images"][:1]).shape[1:]
    tested = []
    for label, name in enumerate(data.class_names):
        part = rows[marks == label]
        if len(part) == 0:
            raise UserError(f"{key}: among the test images, {source}, there is none of class {name}")
        tested.append((like(held.columns["images"][part], size), marks[marks == label]))
    facts = {
        "generator_trained_on": len(known),
        "test_images": len(rows),
        "test_source": source,
        "test_seen_by_generator": seen,
    }
    return {"rows": learnt, "labels": labels[learnt]}, tested, facts


def choose(data: Data, pool: Columns, counts: Tensor, draws: torch.Generator) -> Columns:
    """So many reals (classes,) of each class, drawn from ``pool``; in what order is drawn too."""
    order = torch.randperm(len(pool["rows"]), generator=draws)
    chosen = take({name: column[order] for name, column in pool.items()}, counts)
    return {"images": small(data.columns["images"][chosen["rows"]]), "labels": chosen["labels"]}


def generate(sampler: Sampler, count: int, classes: int) -> Columns:
    """``count`` fakes of each class."""
    labels = torch.arange(count * classes) % classes
    latents = sampler.latents("augmentation", len(labels))
    passes = zip(latents.split(sampler.batch_size), labels.split(sampler.batch_size), strict=True)
    return {"images": torch.cat([small(sampler.show(*asked)).cpu() for asked in passes]), "labels": labels}


def take(columns: Columns, counts: Tensor) -> Columns:
    """The first ``counts`` (classes,) of each class; of a class with fewer, these again from the first on."""
    members = [(columns["labels"] == label).nonzero()[:, 0] for label in range(len(counts))]
    rows = torch.cat([own[torch.arange(n) % len(own)] for own, n in zip(members, counts.tolist(), strict=True)])
    return {name: column[rows] for name, column in columns.items()}


def joined(one: Columns, other: Columns) -> Columns:
    return {name: torch.cat([one[name], other[name]]) for name in one}


def small(images: Tensor) -> Tensor:
    """uint8 images (batch, C, H, W) of at most as many pixels as the classifier sees."""
    return like(images, torch.Size([images.shape[1], *(min(side, SIDE) for side in images.shape[2:])]))
