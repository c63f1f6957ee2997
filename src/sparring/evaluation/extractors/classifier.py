"""A small classifier of the data's own labels, whose features judge images where no download is wanted."""

import logging
import math
import os
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import rgb_to_grayscale

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.distributed import signals
from sparring.distributed.collectives import broadcast, broadcast_object
from sparring.evaluation.extractors.base import Extractor
from sparring.randomness import generator, seed_of
from sparring.storage import tensor_files
from sparring.storage.files import optional_write
from sparring.storage.locks import one_at_a_time
from sparring.storage.tensor_files import hash_of

log = logging.getLogger(__name__)
LEAST = 150  # batches, however few the examples: as many as six times 3,200 of them make
OTHERS = {"images": "evaluation=inception or ", "sounds": "evaluation=spectrum or "}  # scores that want no labels
LABELS = {  # where they come from
    "images": "data.labels=true for a folder whose sub-folders are classes, data.attribute=Smiling for CelebA",
    "sounds": "sub-folders of data.path that name the classes",
    "clips": "sub-folders of data.path that name the classes, or an array beside that of data=volumes, data.labels_key",
    "voxels": "an array beside theirs, data.labels_key",
}


class Network(nn.Module):
    """Images (batch, C, H, W) in [-1, 1], seen in at most 32 pixels -> values (batch, 128), logits (batch, classes)."""

    def __init__(self, channels: int, num_classes: int, width: int = 32):
        super().__init__()
        self.channels = channels
        layers = []
        for i, o in [(channels, width), (width, 2 * width), (2 * width, 4 * width)]:
            layers += [nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(4 * width * 16, 128), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(128, num_classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if images.shape[-1] > 32:
            images = F.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
        values = self.layers(images)
        return values, self.head(values)


def seen(images: Tensor, device: torch.device, channels: int) -> Tensor:
    """uint8 -> float in [-1, 1] with 1 or 3 channels, on the device, in the memory order that convolutions like."""
    images = images.to(device)
    if images.shape[1] != channels:
        images = rgb_to_grayscale(images, channels) if images.shape[1] == 3 else images.expand(-1, channels, -1, -1)
    return images.contiguous(memory_format=torch.channels_last).float().div_(127.5).sub_(1)


def instead(modality: str) -> str:
    """What to choose where no classifier can be had of examples of this modality."""
    return OTHERS.get(modality, "") + "evaluation=none"


def batches(count: int, steps: int, epochs: int | None) -> int:
    """How many batches of 128 it learns from: ``steps``, but of ``count`` examples at most ``epochs`` times each or, of few, ``LEAST``."""
    return steps if epochs is None else min(steps, max(LEAST, epochs * count // 128 + 1))


def train(
    images: Tensor,
    labels: Tensor,
    classes: int,
    device: torch.device,
    steps: int,
    epochs: int | None = 6,
    key: tuple[int | str, ...] = (),
) -> Network:
    """A network that tells classes apart: Adam, one cycle of learning rates, shifts of up to two pixels.

    Its weights are decided by the images (N, C, H, W) uint8 and labels (N,), the key, and the kind of machine.

    Args:
        steps: batches of 128.
        epochs: at most so many or, of few examples, 150 batches; None for no limit but the steps.
        key: another one, another initialisation and other batches.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(*key) if key else 0)
        network = Network(images.shape[1], classes).to(device).train()
    steps = batches(len(images), steps, epochs)
    draws = generator("classifier batches", *key)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        signals.raise_if_interrupted()
        rows = torch.randint(len(images), (128,), generator=draws)
        shift = torch.randint(-2, 3, (2,), generator=draws).tolist()
        batch = seen(images[rows], device, images.shape[1]).roll(shift, (2, 3))
        loss = F.cross_entropy(network(batch)[1], labels[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def accuracy(network: Network, images: Tensor, labels: Tensor) -> float:
    """Share of the images (N, C, H, W) uint8 that it takes for what they are."""
    weight = network.head.weight
    right = 0
    for part, known in zip(images.split(500), labels.split(500), strict=True):
        logits = network(seen(part, weight.device, network.channels))[1]
        right += int((logits.argmax(1).cpu() == known).sum())
    return right / max(len(images), 1)


def held_out(count: int) -> tuple[Tensor, Tensor]:
    """Rows to learn from, and a fifth (at most 10,000) on which accuracy is measured; always the same ones."""
    order = torch.randperm(count, generator=generator("classifier split"))
    tested = min(count // 5, 10_000)
    return order[tested:], order[:tested]


class Classifier(Extractor):
    """Trained on the data's labels on first use (the same weights for every run on these data), then cached.

    A fifth of the data (at most 10,000) is held out to measure its accuracy. Where that is hardly more than naming the largest class
    each time would have, a warning is given: to a classifier that tells nothing apart even noise looks like the reals.

    Args:
        min_accuracy: least accuracy on the held-out images with which scores may be made; what the data set is known
            to allow.
        steps: batches of 128 that it is trained on,
        epochs: ... but at most so often on each example or, of few examples, on 150 batches.
    """

    name = "classifier"
    dims = 128
    takes = ("images", "sounds", "clips", "voxels")

    def __init__(self, min_accuracy: float = 0.0, steps: int = 600, epochs: int = 6):
        self.min_accuracy, self.steps, self.epochs = min_accuracy, steps, epochs

    def prepare(self, device: torch.device | str, data: Data | None, cache: str | os.PathLike) -> None:
        """Train it on ``data``, or take it from ``classifiers`` in the cache folder.

        Raises:
            UserError: no labels, too few images, or a lower accuracy than ``min_accuracy``.
        """
        kind = "images" if data is None else data.modality.name
        if data is None or "labels" not in data.columns:
            raise UserError(
                f"evaluation/extractor=classifier scores {kind} with a classifier of the data's labels, and these data have none: "
                f"choose {instead(kind)} (or give them labels: {LABELS[kind]})"
            )
        if len(data) < 50:
            raise UserError(
                f"evaluation=fast trains a classifier, for which {len(data)} {kind} are too few: evaluation=none"
            )
        if len(data.class_names) < 2:
            raise UserError(
                f"evaluation=fast trains a classifier to tell classes apart, and these data have one: choose {instead(kind)}"
            )
        self.device, self.see = torch.device(device), data.modality.seen
        learnt, tested = held_out(len(data))
        shown = batches(len(learnt), self.steps, self.epochs)
        length = f"{self.steps}steps" + f"-{self.epochs}epochs" * (self.epochs != 6)
        length += f"-{shown}batches" * (shown <= LEAST)  # earlier ones were trained on fewer
        path = Path(cache).expanduser() / "classifiers" / f"{data.key}-{length}.pt"
        with torch.random.fork_rng(devices=[]):
            self.network = Network(self.see(data.columns["images"][:1]).shape[1], len(data.class_names)).to(self.device)
        with one_at_a_time(path, f"the classifier of {data.name}, {path}"):
            if not self._load(path):
                self._train(data)
                self._save(path)
        broadcast(self.network.state_dict().values())  # each machine may have trained its own
        self.accuracy = broadcast_object(self.accuracy)
        self.network.eval().requires_grad_(False)
        self.classes = len(data.class_names)
        self.facts = {
            "extractor": self.name,
            "weights": hash_of(self.network.state_dict()),
            "resize": "bilinear with antialiasing to at most 32 pixels",
            "precision": "float32",
            "classifier_accuracy": round(self.accuracy, 4),
        }
        if self.accuracy < self.min_accuracy:
            raise UserError(
                f"the classifier of evaluation=fast recognises {self.accuracy:.1%} of held-out {kind}, under the "
                f"{self.min_accuracy:.0%} that data.classifier_accuracy asks for, so its scores would mean little. Are the "
                "labels right? Go on with evaluation=none."
            )
        self._doubt(data.columns["labels"][tested], kind)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(seen(self.see(images), self.device, self.network.channels))

    def _doubt(self, tested: Tensor, kind: str) -> None:
        """Warn, and tell the protocol, if it recognises examples of these labels hardly better than their largest class is large."""
        share = int(tested.bincount().max()) / len(tested)
        margin = max(2 * math.sqrt(share * (1 - share) / len(tested)), (1 - share) / 10)  # two standard errors
        if self.accuracy <= share + margin:
            self.facts["largest_class"] = round(share, 4)
            log.warning(
                "The classifier behind these scores recognises %.1f%% of %d held-out %s, and naming the largest class each time would be "
                "right for %.1f%%: it hardly tells classes apart, so the scores mean little. More examples, or labels that can be seen, "
                "would help; evaluation=none leaves the scores out.",
                100 * self.accuracy,
                len(tested),
                kind,
                100 * share,
            )

    def _train(self, data: Data) -> None:
        started = time.perf_counter()
        images, labels = self.see(data.columns["images"]), data.columns["labels"]
        learnt, tested = held_out(len(data))
        self.network = train(
            images[learnt], labels[learnt], len(data.class_names), self.device, self.steps, self.epochs
        )
        self.accuracy = accuracy(self.network, images[tested], labels[tested])
        log.info(
            "trained the classifier that judges the %s in %.0f s: %.1f%% of %d held-out ones right",
            data.modality.name,
            time.perf_counter() - started,
            100 * self.accuracy,
            len(tested),
        )

    def _load(self, path: Path) -> bool:
        if (kept := tensor_files.read_cached(path, {"network", "accuracy"}, self.device)) is None:
            return False
        self.network.load_state_dict(kept["network"])
        self.accuracy = kept["accuracy"]
        return True

    def _save(self, path: Path) -> None:
        with optional_write(path):  # it can be made again
            tensor_files.write({"network": self.network.state_dict(), "accuracy": self.accuracy}, path)
