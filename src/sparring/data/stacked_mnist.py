"""Stacked MNIST: three digits as the channels of one image, which makes 1,000 modes that a classifier can name."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveInt

from sparring.config.errors import UserError
from sparring.data.mnist import MNIST, MNISTMini
from sparring.data.source import Arrays, Count, Example
from sparring.randomness import generator


class StackedMNIST(Arrays):
    """Images of three digits drawn at random, one a colour (Metz et al. 2017; PacGAN's protocol, Lin et al. 2018).

    The label is the three-digit number in red, green and blue, 0 to 999. The same digits are drawn for every seed.
    Published figures differ in the classifier that names the modes; with ``mini`` they are not comparable.

    Args:
        of: ``full``, the 60,000 training digits, or ``mini``, the 5,000 embedded ones, without a download.
        path: root folder of the full MNIST, whose IDX files are in ``MNIST/raw`` below it.
        image_size: pixels of a side; the digits' own is 28, others are resized.
        count: images; PacGAN's 128,000 by default.
    """

    def __init__(
        self,
        of: Literal["full", "mini"] = "full",
        path: str = ".",
        image_size: PositiveInt = 28,
        count: Count = 128_000,
        channels: Literal[3] = 3,
    ):
        super().__init__(image_size, channels, [f"{number:03d}" for number in range(1000)])
        self.of, self.count = of, count
        self.digits = MNISTMini(image_size) if of == "mini" else MNIST(path, image_size)

    def prepare(self) -> None:
        self.digits.fetches = self.fetches
        try:
            self.digits.prepare()
        except UserError as error:
            raise UserError(f"{error}\nOr stack the 5,000 embedded digits: data.of=mini") from error

    def identity(self) -> dict:
        return {"of": self.of, "count": self.count, "digits": self.digits.identity()}

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the digits in MNIST (count, 3), and labels (count,)."""
        single = self.digits.load()[1]
        rows = torch.randint(len(single), (self.count, 3), generator=generator("stacked digits")).numpy()
        return rows, single[rows] @ np.array([100, 10, 1])

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Example]:
        pixels = np.concatenate(list(map(self.digits.decode, self.digits.arrays[0])))  # (N, H, W), each resized once
        yield from ((pixels[rows], int(label)) for rows, label in zip(*self.load(), strict=True))
