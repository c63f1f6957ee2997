"""A small classifier of the data's own labels, whose features judge images where no download is wanted."""

import hashlib
import logging
import os
import pickle
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.data.cache import Data
from sparring.errors import UserError
from sparring.evaluation.features import Extractor
from sparring.files import replacing
from sparring.randomness import generator

log = logging.getLogger(__name__)


class Network(nn.Module):
    """Images (batch, C, H, W) in [-1, 1], seen in at most 32 pixels -> values (batch, 128), logits (batch, classes)."""

    def __init__(self, channels: int, num_classes: int, width: int = 32):
        super().__init__()
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


class Classifier(Extractor):
    """Trained on the data's labels on first use (the same weights for every run on these data), then cached.

    Args:
        data: labelled images; a fifth of them (at most 10,000) is held out to measure the accuracy.
        folder: the cache folder; the weights lie in ``classifiers`` below it.
        device: where it runs.
        min_accuracy: least accuracy on the held-out images with which scores may be made; what the data set is known
            to allow.
        steps: batches of 128 that it is trained on, but at most six epochs.

    Raises:
        UserError: no labels, or a lower accuracy.
    """

    name = "classifier"

    def __init__(
        self,
        data: Data,
        folder: str | os.PathLike,
        device: torch.device | str = "cpu",
        min_accuracy: float = 0.0,
        steps: int = 600,
    ):
        if "labels" not in data.columns:
            raise UserError(
                "evaluation=fast scores images with a classifier of the data's labels, and these data have none: "
                "choose evaluation=none (or data.labels=true for an image folder whose sub-folders are classes)."
            )
        if len(data) < 50:
            raise UserError(
                f"evaluation=fast trains a classifier, for which {len(data)} images are too few: evaluation=none"
            )
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = Network(data.columns["images"].shape[1], len(data.class_names)).to(self.device)
        order = torch.randperm(len(data), generator=generator("classifier split"))
        held_out = min(len(data) // 5, 10_000)
        self._test, self._train = order[:held_out], order[held_out:]
        steps = min(steps, 6 * len(self._train) // 128 + 1)

        path = Path(folder).expanduser() / "classifiers" / f"{data.key}-{steps}steps.pt"
        if not self._load(path):
            self._fit(data, steps)
            self._save(path)
        self.network.eval().requires_grad_(False)
        self.weights_hash = _hash(self.network.state_dict())
        self.facts = {"classifier_accuracy": round(self.accuracy, 4)}
        if self.accuracy < min_accuracy:
            raise UserError(
                f"the classifier of evaluation=fast recognises {self.accuracy:.1%} of held-out images, under the {min_accuracy:.0%} that "
                "data.classifier_accuracy asks for, so its scores would mean little. Are the labels right? Go on with evaluation=none."
            )

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        values, logits = self.network(self._seen(images))
        return values.cpu(), logits.cpu()

    def _seen(self, images: Tensor) -> Tensor:
        """uint8 -> float in [-1, 1], on the device, in the memory order that convolutions like."""
        images = images.to(self.device).contiguous(memory_format=torch.channels_last)
        return images.float().div_(127.5).sub_(1)

    def _fit(self, data: Data, steps: int) -> None:
        """Adam, one cycle of learning rates, shifts of up to two pixels; decided by the data (and the kind of machine)."""
        started = time.perf_counter()
        images, labels = data.columns["images"], data.columns["labels"]
        draws = generator("classifier batches")
        optimizer = torch.optim.Adam(self.network.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        self.network.train()
        for _ in range(steps):
            rows = self._train[torch.randint(len(self._train), (128,), generator=draws)]
            shift = torch.randint(-2, 3, (2,), generator=draws).tolist()
            batch = self._seen(images[rows]).roll(shift, (2, 3))
            loss = F.cross_entropy(self.network(batch)[1], labels[rows].to(self.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        self.network.eval()
        rows = self._test
        right = [self(images[part])[1].argmax(1).eq(labels[part]).sum() for part in rows.split(500)]
        self.accuracy = float(sum(right) / max(len(rows), 1))
        log.info(
            "trained the classifier that judges the images in %.0f s: %.1f%% of %d held-out images right",
            time.perf_counter() - started,
            100 * self.accuracy,
            len(rows),
        )

    def _load(self, path: Path) -> bool:
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            if _hash(state["network"]) != state["hash"]:
                raise ValueError("its weights are not those that were written")
            self.network.load_state_dict(state["network"])
            self.accuracy = state["accuracy"]
            return True
        except FileNotFoundError:
            return False
        except (OSError, RuntimeError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            log.warning("%s is damaged (%s): it is made again", path, type(error).__name__)
            return False

    def _save(self, path: Path) -> None:
        with replacing(path) as temporary:
            weights = self.network.state_dict()
            torch.save({"network": weights, "hash": _hash(weights), "accuracy": self.accuracy}, temporary)


def _hash(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
