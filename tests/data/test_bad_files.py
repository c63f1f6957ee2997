"""Whatever lies where data are looked for ends in data that are right or in an error that names the file or the key.

A longer search: SPARRING_EXAMPLES=5000 python -m pytest -n 0 tests/data/test_bad_files.py
"""

import gzip
import os
import resource
import shutil
import signal
import struct
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import hostile
import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sources import offline  # noqa: F401

from sparring.config.errors import UserError
from sparring.data.array_file import ArrayFile
from sparring.data.cache import load
from sparring.data.celeba import CelebA
from sparring.data.cifar10 import CIFAR10
from sparring.data.image_folder import ImageFolder
from sparring.data.medmnist import MedMNIST
from sparring.data.mnist import MNIST
from sparring.data.pairs import Pairs, Unpaired
from sparring.evaluation.image_sets import open_images
from sparring.sampling.translate_files import translate_files
from translators import a_sampler

MANY = int(os.environ.get("SPARRING_EXAMPLES", 0))


def searched(examples: int):
    plan = {"max_examples": MANY or examples, "derandomize": not MANY, "deadline": None, "database": None}
    return settings(**plan, report_multiple_bugs=False, suppress_health_check=list(HealthCheck))


class Hang(BaseException):
    """Not caught by whoever catches every Exception."""


@contextmanager
def a_place():
    """A folder of its own, in a process that may take 20 s and 3 GiB more than it has."""

    def too_long(*_):
        raise Hang

    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before, kept = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, 20, 1)
    resource.setrlimit(resource.RLIMIT_AS, (held + 3 * 2**30, before[1]))
    folder = tempfile.mkdtemp()
    try:
        yield Path(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)
        shutil.rmtree(folder)


def loaded(make, place: Path, wanted: str | None = None):
    """The decoded data, which are valid; or None after an error that names the file or the key."""
    try:
        source = make()
        data = load(source, place / "cache")
    except UserError as error:
        assert str(place) in str(error) or "data." in str(error) or "fake=" in str(error), error
        assert wanted is None, f"{error} for data that are right"
        return None
    shape = (source.channels, source.image_size, source.image_size)
    assert data.columns["images"].dtype == torch.uint8 and tuple(data.columns["images"].shape[1:]) == shape
    assert len(data) > 0
    if data.paired:
        assert len(source) == len(data) + data.skipped
    if source.num_classes:
        labels = data.columns["labels"]
        assert len(labels) == len(data) and labels.min() >= 0 and labels.max() < source.num_classes
    return data


def plainly(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """What PIL itself makes of an upright image."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    if "A" in image.mode or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    image = image.convert("RGB" if channels == 3 else "L")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


# ---- folders ----------------------------------------------------------------------------------------------------

SETTINGS = {
    "image_size": st.sampled_from([1, 6, 32]),
    "channels": st.sampled_from([1, 3]),
    "crop": st.sampled_from([None, 1, 5, 10**9]),
    "labels": st.booleans(),
    "on_bad_image": st.sampled_from(["error", "skip"]),
}


@searched(45)
@given(hostile.entries, st.fixed_dictionaries(SETTINGS))
def test_any_folder_of_images(listed, options):
    with a_place() as place:
        hostile.lay(place / "data", listed)
        loaded(lambda: ImageFolder(str(place / "data"), **options), place)


@searched(35)
@given(hostile.good_entries, st.sampled_from([1, 8]), st.sampled_from([1, 3]))
def test_pictures_that_are_whole_are_what_pillow_says(listed, size, channels):
    with a_place() as place:
        made = hostile.lay(place / "data", [entry for entry in listed if entry[3].whole])
        if not any(not path.name.startswith(".") for path in made):
            return
        source = ImageFolder(str(place / "data"), size, channels, labels=True)
        data = loaded(lambda: source, place, wanted="all of them")
        for (path, label), pixels in zip(source.files, data.columns["images"].numpy(), strict=True):
            assert label == 0
            assert np.array_equal(pixels, plainly(made[Path(path)].whole, size, channels)), path


@searched(25)
@given(st.data())
def test_any_folders_of_two_kinds(data):
    kind = data.draw(st.sampled_from([Pairs, Unpaired]))
    side_by_side, on_bad_image = data.draw(st.booleans()), data.draw(st.sampled_from(["error", "skip"]))
    listed = data.draw(hostile.entries)
    with a_place() as place:
        for side in ("trainA", "trainB", "train"):
            other = [(*entry[:3], data.draw(hostile.pictures())) for entry in listed]
            hostile.lay(place / "data" / side, data.draw(st.sampled_from([listed, other, other])))
        options = {"image_size": 6, "side_by_side": side_by_side, "on_bad_image": on_bad_image}
        loaded(lambda: kind(str(place / "data"), **options), place)


@searched(35)
@given(hostile.entries)
def test_any_folder_that_is_to_be_scored_or_answered_to(listed):
    with a_place() as place:
        made = hostile.lay(place / "data", listed)
        try:
            images = open_images(str(place / "data"), "fake")
            shown = images.images(range(len(images)))
            assert shown.shape == (len(images), 3, *images.image_size) and shown.dtype == torch.uint8
        except UserError as error:
            assert str(place) in str(error)
        try:
            assert translate_files(a_sampler(), place / "data", 1, place / "out") <= len(made)
        except UserError as error:
            assert str(place) in str(error)


# ---- arrays -----------------------------------------------------------------------------------------------------


@searched(120)
@given(st.data())
def test_any_file_of_arrays(data):
    array, content, honest = data.draw(hostile.images())
    labels, is_npz = data.draw(hostile.labels()), data.draw(st.booleans())
    damaged = not honest or data.draw(st.integers(0, 3)) == 0
    key = data.draw(st.sampled_from(["images", "images", "images", "arr_0", "../images", "labels"]))
    if is_npz:
        members = {f"{key}.npy": content} | ({} if labels is None else {"labels.npy": hostile.stored(labels)})
        content = hostile.packed(members, data.draw(st.sampled_from([zipfile.ZIP_STORED, 8, zipfile.ZIP_LZMA])))
    if damaged and honest:
        content = data.draw(hostile.damages(content))
    size, kind = data.draw(st.sampled_from([None, 1, 8])), data.draw(st.sampled_from([ArrayFile, Unpaired]))
    with a_place() as place:
        path = place / f"them.{'npz' if is_npz else 'npy'}"
        path.write_bytes(content)
        options = {"inputs_key": "labels", "images_key": "images"} if kind is Unpaired else {}
        found = loaded(lambda: kind(str(path), image_size=size, **options), place)
        square = array.ndim in (3, 4) and (size or array.shape[1] == array.shape[2])
        right = array.dtype == np.uint8 and array.size and square and array.shape[3:] in ((), (1,), (3,))
        if right and not damaged and kind is ArrayFile and not is_npz:
            assert found is not None
        if found is not None and not damaged and size in (None, 8) and array.shape[1:3] == (8, 8):
            expected = array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)
            assert np.array_equal(found.columns["images"].numpy(), expected)
        if found is not None and "labels" in found.columns:
            assert not honest or damaged or found.columns["labels"].tolist() == labels.tolist()
        try:
            images = open_images(str(path), "fake")
            assert images.images(range(len(images))).shape == (len(images), *images.images([0]).shape[1:])
            assert images.labels is None or 0 <= images.labels.min() <= images.labels.max() < 2**16
        except UserError as error:
            assert str(path) in str(error)


# ---- published sets ---------------------------------------------------------------------------------------------


@searched(30)
@given(st.data())
def test_any_file_of_medmnist(data):
    array, content, honest = data.draw(hostile.images())
    labels = data.draw(hostile.labels())
    labels = np.zeros(4, np.uint8) if labels is None else labels
    labels = labels[:, None] if labels.ndim == 1 and data.draw(st.booleans()) else labels
    content = hostile.packed({"train_images.npy": content, "train_labels.npy": hostile.stored(labels)})
    if data.draw(st.booleans()):
        content = data.draw(hostile.damages(content))
    with a_place() as place:
        (place / "pathmnist.npz").write_bytes(content)
        loaded(lambda: MedMNIST(path=str(place), image_size=8), place)


@searched(30)
@given(st.data())
def test_any_files_of_mnist(data):
    counts = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    sides, highest = (
        data.draw(st.sampled_from([(28, 28), (28, 28), (0, 0), (70_000, 70_000)])),
        data.draw(st.integers(0, 20)),
    )
    header = struct.pack(">IIII", 0x803, counts[0], *sides)
    files = {
        "train-images-idx3-ubyte": header + bytes(counts[0] * 28 * 28),
        "train-labels-idx1-ubyte": struct.pack(">II", 0x801, counts[1]) + bytes([highest] * counts[1]),
    }
    with a_place() as place:
        raw = place / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name, content in files.items():
            if data.draw(st.booleans()):
                content = data.draw(hostile.damages(content))
            gz = data.draw(st.integers(0, 9)) == 0
            (raw / f"{name}{'.gz' * gz}").write_bytes(gzip.compress(content) if gz else content)
        loaded(lambda: MNIST(str(place), image_size=8), place)


@searched(30)
@given(st.data())
def test_any_files_of_celeba(data):
    faces = [f"{n:06d}.jpg" for n in range(3)]
    parts = "".join(f"{face} {n % 2}\n" for n, face in enumerate(faces)).encode()
    rows = b"3\nBald Smiling\n" + b"".join(f"{face} -1  1\n".encode() for face in faces)
    with a_place() as place:
        held = {f"img_align_celeba/{face}": data.draw(hostile.pictures()).content for face in faces}
        if data.draw(st.booleans()):
            held |= {"img_align_celeba/../../out.jpg": b"", "/out.jpg": b""}
        if data.draw(st.booleans()):
            content = hostile.packed(held)
            content = data.draw(hostile.damages(content)) if data.draw(st.booleans()) else content
            (place / "img_align_celeba.zip").write_bytes(content)
        else:
            hostile.lay(place / "img_align_celeba", data.draw(hostile.entries))
        for name, content in (("list_eval_partition.txt", parts), ("list_attr_celeba.txt", rows)):
            content = data.draw(hostile.damages(content)) if data.draw(st.booleans()) else content
            (place / name).write_bytes(content)
        options = {"attribute": data.draw(st.sampled_from([None, "Smiling"]))}
        options["on_bad_image"] = data.draw(st.sampled_from(["error", "skip"]))
        loaded(lambda: CelebA(str(place), image_size=8, split="all", **options), place)
        assert not (place.parent / "out.jpg").exists()


@searched(10)
@given(st.data())
def test_any_files_of_cifar(data):
    with a_place() as place:
        folder = place / "cifar-10-batches-py"
        folder.mkdir()
        mark = place / "code was run"
        for name in [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch", "batches.meta"]:
            code = b"cposix\nsystem\n(S'touch \"" + os.fsencode(mark) + b"\"'\ntR."
            (folder / name).write_bytes(data.draw(st.just(code) | hostile.damages(code)))
        assert loaded(lambda: CIFAR10(str(place)), place) is None
        assert not mark.exists()
