"""CIFAR-10 in its published files."""

import hashlib
import pickle
from typing import ClassVar

import numpy as np
import pytest
import torchvision
from sources import examples, noise, offline  # noqa: F401

from sparring.data.cifar10 import CIFAR10


class Python2(pickle._Pickler):
    """Writes bytes as the strings of Python 2, which the real files were written by."""

    def save_bytes(self, content):
        self.write(pickle.BINSTRING + len(content).to_bytes(4, "little") + content)
        self.memoize(content)

    dispatch: ClassVar = pickle._Pickler.dispatch | {bytes: save_bytes}


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A root folder with five training batches of 3 images and a test batch of 4; and all the images, NHWC."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name, content):
        with open(folder / name, "wb") as file:
            Python2(file, protocol=2).dump(content)
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    images = noise(19, 32, 32, 3)
    rows = images.transpose(0, 3, 1, 2).reshape(19, 3072)  # 1024 red, then 1024 green, then 1024 blue
    lists = {"train_list": [], "test_list": []}
    for i, part in enumerate(np.split(np.arange(19), [3, 6, 9, 12, 15])):
        name = f"data_batch_{i + 1}" if i < 5 else "test_batch"
        names = [f"image_{n}.png".encode() for n in part]
        content = {b"batch_label": name.encode(), b"labels": [int(n) % 10 for n in part], b"filenames": names}
        lists["train_list" if i < 5 else "test_list"].append([name, write(name, content | {b"data": rows[part]})])
    classes = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
    meta = {b"num_cases_per_batch": 3, b"label_names": classes, b"num_vis": 3072}
    lists["meta"] = {"filename": "batches.meta", "key": "label_names", "md5": write("batches.meta", meta)}
    for name, value in lists.items():
        monkeypatch.setattr(torchvision.datasets.CIFAR10, name, value)
    return tmp_path, images


@pytest.mark.parametrize(("split", "part"), [("train", slice(0, 15)), ("test", slice(15, 19))])
def test_cifars_pickles_are_read_by_split(split, part, cifar):
    root, images = cifar
    pixels, labels = examples(CIFAR10(str(root), split=split))
    assert np.array_equal(pixels, images[part].transpose(0, 3, 1, 2))
    assert labels == [n % 10 for n in range(19)[part]]


def test_cifars_classes_are_named(cifar):
    source = CIFAR10(str(cifar[0]))
    assert source.class_names == torchvision.datasets.CIFAR10(str(cifar[0])).classes
