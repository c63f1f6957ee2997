"""Which of the 1,000 modes of stacked MNIST an image shows: a classifier of single digits, applied to each channel."""

import logging
import os
import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.evaluation.extractors.classifier import Classifier, accuracy, held_out, seen, train
from sparring.randomness import generator

log = logging.getLogger(__name__)


class StackedDigits(Classifier):
    """Values (batch, 384) are the three channels' features side by side, logits (batch, 1000) those of the number abc:
    log p(a) + log p(b) + log p(c), whose argmax is the mode's number 100a + 10b + c.

    The classifier learns from the channels of the stacked training images and their digits on first use, and is cached. A
    fifth of the different digits is held out to measure its accuracy, in whichever stacks they appear.

    Args:
        min_accuracy: least accuracy on held-out single digits with which scores may be made.
        steps: batches of 128 that it is trained on.
    """

    name = "stacked_digits"
    dims = 384

    def __init__(self, min_accuracy: float = 0.0, steps: int = 1200):
        super().__init__(min_accuracy, steps)

    def prepare(self, device: torch.device | str, data: Data | None, cache: str | os.PathLike) -> None:
        """Train it on ``data``, or take it from ``classifiers`` in the cache folder.

        Raises:
            UserError: the data are not stacked digits, or its accuracy is lower than ``min_accuracy``.
        """
        if data is None or len(data.class_names) != 1000 or data.columns["images"].shape[1] != 3:
            raise UserError(
                f"evaluation/extractor={self.name} names the three digits of stacked MNIST, and the data are "
                f"{'given images' if data is None else data.name}: data=stacked_mnist, or choose evaluation=fast"
            )
        images, labels = data.columns["images"], data.columns["labels"]
        columns = {"images": images.flatten(0, 1)[:, None], "labels": digits(labels).flatten()}
        super().prepare(device, replace(data, columns=columns, key=f"{data.key}-digits", class_names=DIGITS), cache)
        self.classes = 1000

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        channels = images.expand(-1, 3, -1, -1).flatten(0, 1)[:, None]
        values, logits = self.network(seen(channels, self.device, 1))
        a, b, c = logits.log_softmax(1).view(-1, 3, 10).unbind(1)
        return values.view(len(images), -1), (a[:, :, None, None] + b[:, None, :, None] + c[:, None, None]).flatten(1)

    def _train(self, data: Data) -> None:
        started = time.perf_counter()
        images, labels = data.columns["images"], data.columns["labels"]
        names, first, number = np.unique(fingerprints(images).numpy(), return_index=True, return_inverse=True)
        first, number = torch.from_numpy(first), torch.from_numpy(number)
        _, tested = held_out(len(names))
        rows = torch.ones(len(names), dtype=torch.bool).index_fill_(0, tested, False)[number].nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator("classifier digits"))[: 128 * self.steps]]
        self.network = train(images[rows], labels[rows], len(DIGITS), self.device, self.steps)
        self.accuracy = accuracy(self.network, images[first[tested]], labels[first[tested]])
        log.info(
            "trained the classifier that names the digits in %.0f s: %.1f%% of %d held-out ones right",
            time.perf_counter() - started,
            100 * self.accuracy,
            len(tested),
        )


DIGITS = [str(digit) for digit in range(10)]


def digits(labels: Tensor) -> Tensor:
    """Modes (batch,) from 0 to 999 -> their digits (batch, 3)."""
    return labels[:, None] // torch.tensor([100, 10, 1], device=labels.device) % 10


def fingerprints(images: Tensor) -> Tensor:
    """A number (N,) int64 for each uint8 image, equal for equal ones and, but for one chance in a million, for those alone."""
    draws = generator("fingerprints")
    weights = torch.randint(-(2**63), 2**63 - 1, images.shape[1:], generator=draws)
    return torch.cat([(part * weights).sum((1, 2, 3)) for part in images.split(4096)])  # modulo 2^64
