"""Stacked MNIST: 1,000 modes."""

import numpy as np
import pytest
import torch

from sparring.config.errors import UserError
from sparring.data.cache import load
from sparring.data.mnist import MNIST, MNISTMini
from sparring.data.stacked_mnist import StackedMNIST


def test_the_modes_of_the_training_set_are_near_uniform():
    _, labels = StackedMNIST("mini").load()
    shares = np.bincount(labels, minlength=1000) / 128_000
    assert len(labels) == 128_000 and (shares > 0).all()
    assert (shares * np.log(1000 * shares)).sum() < 0.01  # KL to uniform; about 999 / (2 * 128,000) by chance alone


def test_channels_are_the_digits_of_the_label_and_the_same_ones_are_drawn_again(tmp_path):
    number_of = {pixels.tobytes(): label for pixels, label in MNISTMini()}
    data = load(StackedMNIST("mini", count=200), tmp_path)
    images, labels = data.columns["images"], data.columns["labels"]
    assert images.shape == (200, 3, 28, 28) and images.dtype == torch.uint8
    for image, label in zip(images, labels.tolist(), strict=True):
        assert data.class_names[label] == "".join(str(number_of[channel.numpy().tobytes()]) for channel in image)
    assert len({image.numpy().tobytes() for image in images.flatten(0, 1)}) > 500, "drawn from all of the digits"
    again = [pixels for pixels, _ in StackedMNIST("mini", count=200)]
    assert np.array_equal(images.numpy(), np.stack(again))


def test_digits_are_resized_as_mnist_itself_is():
    sizes = {pixels.tobytes() for pixels, _ in MNISTMini(32)}
    (pixels, _), *_ = StackedMNIST("mini", image_size=32, count=2)
    assert pixels.shape == (3, 32, 32) and all(channel[None].tobytes() in sizes for channel in pixels)


def test_of_the_full_mnist_that_can_not_be_had_the_embedded_digits_are_named(monkeypatch):
    def refuse(self):
        raise UserError("MNIST could not be downloaded")

    monkeypatch.setattr(MNIST, "prepare", refuse)
    with pytest.raises(UserError, match=r"(?s)could not be downloaded.*data\.of=mini"):
        StackedMNIST("full", "nowhere").prepare()
