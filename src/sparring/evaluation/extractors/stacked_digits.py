"""Which of stacked MNIST's 1,000 modes an image shows, by a classifier of single digits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.evaluation.classifier_training import BATCH_SIZE, held_out, network_input
from sparring.evaluation.extractors.classifier import Classifier, Share, StepCount
from sparring.randomness import generator


class StackedDigits(Classifier):
    """A classifier of digits, applied to each of the three channels.

    Features (batch, 384) are those of the channels side by side, logits (batch, 1000) log p(a) + log p(b) + log p(c) of
    the number abc, whose argmax is the mode 100a + 10b + c. It is trained on the channels of the stacked images on
    first use, and cached. A fifth of the different digits is held out, from all stacks, to measure its accuracy.

    Args:
        min_accuracy: least accuracy on held-out digits with which scores are computed.
        steps: batches of 128 that it is trained on.
    """

    name = "stacked_digits"
    dims = 384

    def __init__(self, min_accuracy: Share = 0.0, steps: StepCount = 1200):
        super().__init__(min_accuracy, steps)

    def prepare(self, device: torch.device, data: Data | None, cache: Path) -> None:
        if data is None or len(data.class_names) != 1000 or data.columns["images"].shape[1] != 3:
            raise UserError(
                f"evaluation/extractor={self.name} names the three digits of stacked MNIST, and the data are "
                f"{'given images' if data is None else data.name}: data=stacked_mnist, or choose evaluation=fast"
            )
        images, labels = data.columns["images"].flatten(0, 1)[:, None], digits(data.columns["labels"]).flatten()
        columns = {"images": images, "labels": labels}
        names = [str(digit) for digit in range(10)]
        super().prepare(device, replace(data, columns=columns, key=f"{data.key}-digits", class_names=names), cache)
        self.classes = 1000

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        channels = images.expand(-1, 3, -1, -1).flatten(0, 1)[:, None]
        features, logits = self.network(network_input(channels, self.device, 1))
        a, b, c = logits.log_softmax(1).view(-1, 3, 10).unbind(1)
        modes = a[:, :, None, None] + b[:, None, :, None] + c[:, None, None]
        return features.view(len(images), -1), modes.flatten(1)

    def _split(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of digits to train on, and one row of each held-out digit."""
        unique, first, number = np.unique(fingerprints(images).numpy(), return_index=True, return_inverse=True)
        first, number = torch.from_numpy(first), torch.from_numpy(number)
        _, test = held_out(len(unique))
        rows = torch.ones(len(unique), dtype=torch.bool).index_fill_(0, test, False)[number].nonzero().flatten()
        order = torch.randperm(len(rows), generator=generator("classifier digits"))
        return rows[order[: BATCH_SIZE * self.steps]], first[test]


def digits(labels: Tensor) -> Tensor:
    """Return the digits (batch, 3) of modes (batch,) from 0 to 999."""
    return labels[:, None] // torch.tensor([100, 10, 1], device=labels.device) % 10


def fingerprints(images: Tensor) -> Tensor:
    """Return a number (N,) int64 of each uint8 image: equal images have equal ones, others nearly never."""
    draws = generator("fingerprints")
    weights = torch.randint(-(2**63), 2**63 - 1, images.shape[1:], generator=draws)
    return torch.cat([(part * weights).sum((1, 2, 3)) for part in images.split(4096)])  # modulo 2^64
