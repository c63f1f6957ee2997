"""Stacked MNIST: three digits as the channels of one image, so 1,000 modes that a classifier of digits can name."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

from sparring.config.errors import UserError
from sparring.data.array_files import MNISTMini
from sparring.data.downloads import MNIST
from sparring.data.source import Arrays, Example
from sparring.randomness import generator


class StackedMNIST(Arrays):
    """Images of three digits drawn at random, one a colour (Metz et al. 2017; PacGAN's protocol, Lin et al. 2018).

    The label is the three-digit number that red, green and blue make, 0 to 999. Which digits are drawn does not depend on
    the run's seed. Published figures differ in the classifier that names the modes; with ``mini`` they are not comparable.

    Args:
        of: ``full``, the 60,000 training digits, or ``mini``, the 5,000 embedded ones, without a download.
        path: root folder of the full MNIST, whose IDX files lie in ``MNIST/raw`` below it.
        image_size: pixels of a side; the digits' own is 28, others are resized.
        count: how many are drawn; PacGAN's 128,000 by default.
        channels: 3.
    """

    def __init__(
        self,
        of: Literal["full", "mini"] = "full",
        path: str = ".",
        image_size: int = 28,
        count: int = 128_000,
        channels: int = 3,
    ):
        if channels != 3:
            raise ValueError(f"data.channels={channels}: must be 3, a digit each")
        if count < 1:
            raise ValueError(f"data.count={count}: must be positive")
        super().__init__(image_size, channels, [f"{number:03d}" for number in range(1000)])
        self.of, self.count = of, count
        self.digits = MNISTMini(image_size) if of == "mini" else MNIST(path, image_size)

    def prepare(self) -> None:
        self.digits.fetches = self.fetches
        try:
            self.digits.prepare()
        except UserError as error:
            raise UserError(f"{error}\nOr stack the 5,000 digits that are there already: data.of=mini") from error

    def identity(self) -> dict:
        return {"of": self.of, "count": self.count, "digits": self.digits.identity()}

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Digits that are drawn, (count, 3) of them by their places in MNIST, and labels (count,)."""
        single = self.digits.load()[1]
        drawn = torch.randint(len(single), (self.count, 3), generator=generator("stacked digits")).numpy()
        return drawn, single[drawn] @ np.array([100, 10, 1])

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Example]:
        fitted = np.concatenate([pixels for pixels, _ in self.digits])  # (N, H, W): each digit is resized once
        drawn, labels = self._loaded()
        yield from ((fitted[places], label) for places, label in zip(drawn, labels.tolist(), strict=True))
