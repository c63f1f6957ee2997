"""Features of a small classifier of the data's own labels, which needs no download."""

import logging
import math
import time
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.distributed.collectives import broadcast, broadcast_object
from sparring.evaluation import classifier_training as training
from sparring.evaluation.extractors.base import Extractor
from sparring.storage import tensor_files
from sparring.storage.files import optional_write
from sparring.storage.locks import one_at_a_time

log = logging.getLogger(__name__)
Share = Annotated[float, Field(ge=0, le=1)]
StepCount = Annotated[int, Field(ge=1, le=1_000_000)]
LABEL_SOURCES = {  # how data of a modality get labels
    "images": "data.labels=true for a folder whose sub-folders are classes, data.attribute=Smiling for CelebA",
    "sounds": "sub-folders of data.path that name the classes",
    "clips": "sub-folders of data.path that name the classes, or an array next to that of volumes, data.labels_key",
    "voxels": "an array next to theirs, data.labels_key",
}


def check_labels(modality: str, classes: int) -> None:
    """Raise UserError, with what to choose instead, if data of a modality have no labels or a single class."""
    if classes < 2:
        others = {"images": "evaluation=inception or ", "sounds": "evaluation=spectrum or "}
        raise UserError(
            f"evaluation=fast means that a classifier scores {modality} by their labels, and these data have "
            f"{'one' if classes else 'none'}: choose {others.get(modality, '')}evaluation=none "
            f"(or give them labels: {LABEL_SOURCES[modality]})"
        )


class Classifier(Extractor):
    """A classifier, trained on the data's labels on first use (all runs on the same data get the same), then cached.

    A fifth of the data (at most 10,000) is held out to measure its accuracy. If that is hardly better than always
    naming the largest class, it warns: a classifier that can't tell classes apart can't tell fakes from reals either.

    Args:
        min_accuracy: least accuracy on the held-out examples with which scores are computed.
        steps: batches of 128 that it is trained on,
        epochs: ... but at most so many epochs or, of few examples, 150 batches.
    """

    name = "classifier"
    dims = 128
    modalities = ("images", "sounds", "clips", "voxels")
    needs_labels = True

    def __init__(self, min_accuracy: Share = 0.0, steps: StepCount = 600, epochs: StepCount = 6):
        self.min_accuracy, self.steps, self.epochs = min_accuracy, steps, epochs

    def prepare(self, device: torch.device, data: Data | None, cache: Path) -> None:
        """Train it on ``data``, or load it from ``classifiers`` in the cache folder.

        Raises:
            UserError: no labels, too few examples or classes, or an accuracy under ``min_accuracy``.
        """
        kind = "images" if data is None else data.modality.name
        self.classes = len(data.class_names) if data is not None and "labels" in data.columns else 0
        check_labels(kind, self.classes)
        assert data is not None
        if len(data) < 50:
            raise UserError(f"evaluation=fast trains a classifier, and {len(data)} {kind} are too few: evaluation=none")
        self.device, self.as_images = torch.device(device), data.modality.seen
        batches = training.batch_count(len(training.held_out(len(data))[0]), self.steps, self.epochs)
        path = Path(cache).expanduser() / "classifiers" / f"{data.key}-{batches}batches.pt"
        channels = self.as_images(data.columns["images"][:1]).shape[1]
        with torch.random.fork_rng(devices=[]):
            self.network = training.Network(channels, self.classes).to(self.device)
        with one_at_a_time(path, f"the classifier of {data.name}, {path}"):
            stored = tensor_files.read_cached(path, {"network", "accuracy"}, self.device)
            if stored is None:
                stored = self._train(data)
                with optional_write(path):  # it can be trained again
                    tensor_files.write(stored, path)
        self.network.load_state_dict(stored["network"])
        broadcast(self.network.state_dict().values())  # each machine may have trained its own
        self.accuracy = broadcast_object(stored["accuracy"])
        self.network.eval().requires_grad_(False)
        self.facts = {
            "extractor": self.name,
            "weights": tensor_files.hash_of(self.network.state_dict()),
            "resize": "bilinear with antialiasing to at most 32 pixels",
            "precision": "float32",
            "classifier_accuracy": round(self.accuracy, 4),
        }
        if self.accuracy < self.min_accuracy:
            raise UserError(
                f"the classifier of evaluation=fast recognises {self.accuracy:.1%} of held-out {kind}, under the "
                f"{self.min_accuracy:.0%} of data.classifier_accuracy, so its scores would mean little. Are the labels "
                "right? To go on without scores: evaluation=none."
            )
        self._warn_if_uninformative(data.columns["labels"][training.held_out(len(data))[1]], kind)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(training.network_input(self.as_images(images), self.device, self.network.channels))

    def _split(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows to train on and to test on."""
        return training.held_out(len(images))

    def _train(self, data: Data) -> dict[str, Any]:
        """Return the weights and the accuracy."""
        started = time.perf_counter()
        images, labels = self.as_images(data.columns["images"]), data.columns["labels"]
        learnt, tested = self._split(images)
        settings = (len(data.class_names), self.device, self.steps, self.epochs)
        network = training.train(images[learnt], labels[learnt], *settings)
        accuracy = training.accuracy(network, images[tested], labels[tested])
        log.info(
            f"trained the classifier that scores the {data.modality.name} in {time.perf_counter() - started:.0f} s: "
            f"{accuracy:.1%} of {len(tested)} held-out ones right"
        )
        return {"network": network.state_dict(), "accuracy": accuracy}

    def _warn_if_uninformative(self, labels: Tensor, kind: str) -> None:
        """Warn, and add to the facts, if its accuracy is hardly above the largest class's share of held-out labels."""
        share = int(labels.bincount().max()) / len(labels)
        margin = max(2 * math.sqrt(share * (1 - share) / len(labels)), (1 - share) / 10)  # two standard errors
        if self.accuracy <= share + margin:
            self.facts["largest_class"] = round(share, 4)
            log.warning(
                f"The classifier behind these scores recognises {self.accuracy:.1%} of {len(labels)} held-out {kind}; "
                f"always naming the largest class would be right for {share:.1%}. It hardly tells classes apart, so "
                "the scores mean little. More examples or visible classes would help; evaluation=none leaves them out."
            )
