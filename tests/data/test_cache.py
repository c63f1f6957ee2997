"""Data are decoded once; what is half-written or outdated is never read."""

import hashlib
import json
import os
import shutil
import time
import tracemalloc
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparring.config.errors import UserError
from sparring.data.array_file import ArrayFile
from sparring.data.cache import load
from sparring.data.image_folder import ImageFolder
from sparring.data.source import Files


class Counting(ArrayFile):
    """Counts how often it is decoded, and stops with ``error`` after three examples if there is one."""

    decodings, error = 0, None

    def __iter__(self):
        self.decodings += 1
        for i, example in enumerate(super().__iter__()):
            if self.error is not None and i == 3:
                raise self.error
            yield example


def images(count=10, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "mine.npz", images=images(), labels=np.arange(10) % 3)
    return tmp_path / "mine.npz"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def entries(folder):
    """All that lies in the cache, hidden folders included."""
    return sorted(path.name for path in (folder / "datasets").iterdir()) if (folder / "datasets").exists() else []


def test_the_cache_holds_the_pixels_and_labels_of_the_source(file, folder):
    data = load(ArrayFile(str(file)), folder)
    assert data.columns["images"].dtype == torch.uint8 and data.columns["labels"].dtype == torch.int64
    assert np.array_equal(data.columns["images"].numpy(), images()[:, None])
    assert data.columns["labels"].tolist() == [i % 3 for i in range(10)]
    assert data.class_names == ["0", "1", "2"]
    assert len(data) == 10 and data.skipped == 0


def test_unlabelled_data_have_no_labels(tmp_path, folder):
    np.save(tmp_path / "mine.npy", images())
    data = load(ArrayFile(str(tmp_path / "mine.npy")), folder)
    assert set(data.columns) == {"images"} and data.class_names == []


def test_what_was_decoded_once_is_not_decoded_again(file, folder):
    first, second = Counting(str(file)), Counting(str(file))
    one, two = load(first, folder), load(second, folder)
    assert (first.decodings, second.decodings) == (1, 0)
    assert one.key == two.key and one.class_names == two.class_names
    assert torch.equal(one.columns["images"], two.columns["images"])
    assert torch.equal(one.columns["labels"], two.columns["labels"])


@pytest.mark.parametrize("change", [{"image_size": 4}, {"channels": 3}, {"labels_key": "none"}])
def test_other_settings_make_another_entry(change, file, folder):
    before = load(Counting(str(file)), folder)
    source = Counting(str(file), **change)
    after = load(source, folder)
    assert source.decodings == 1
    assert before.key != after.key and len(entries(folder)) == 2
    assert after.columns["images"].shape[1:] == (source.channels, source.image_size, source.image_size)


def test_a_changed_file_makes_another_entry(file, folder):
    before = load(Counting(str(file)), folder)
    np.savez(file, images=images(seed=1), labels=np.arange(10) % 3)
    os.utime(file, ns=(0, 0))
    after = load(Counting(str(file)), folder)
    assert before.key != after.key
    assert np.array_equal(after.columns["images"].numpy(), images(seed=1)[:, None])


@pytest.mark.parametrize("change", ["crop", "on_bad_image", "content", "time", "one more", "one less"])
def test_a_folder_that_changed_makes_another_entry(change, tmp_path, folder):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in "abc":
        Image.fromarray(images()[0]).save(pictures / f"{name}.bmp")
        os.utime(pictures / f"{name}.bmp", ns=(10**9, 10**9))
    options = {"path": str(pictures), "image_size": 8, "channels": 1}
    before = load(ImageFolder(**options), folder).key
    assert load(ImageFolder(**options), folder).key == before
    if change == "crop":
        options["crop"] = 4
    elif change == "on_bad_image":
        options["on_bad_image"] = "skip"
    elif change == "content":
        Image.fromarray(images(seed=1)[0, :4]).save(pictures / "a.bmp")
        os.utime(pictures / "a.bmp", ns=(10**9, 10**9))
    elif change == "time":
        os.utime(pictures / "a.bmp", ns=(10**9, 10**9 + 1))
    elif change == "one more":
        Image.fromarray(images()[0]).save(pictures / "d.bmp")
    elif change == "one less":
        (pictures / "c.bmp").unlink()
    assert load(ImageFolder(**options), folder).key != before


DAMAGES = {
    "truncated images": lambda place: os.truncate(place / "images.bin", 300),
    "flipped byte": lambda place: (place / "images.bin").write_bytes(images()[:, ::-1].tobytes()),
    "entry of an earlier version": lambda place: (place / "checksums.json").unlink(),
    "damaged checksums": lambda place: (place / "checksums.json").write_bytes(b"\xff{"),
    "no images": lambda place: (place / "images.bin").unlink(),
    "truncated labels": lambda place: os.truncate(place / "labels.bin", 8),
    "no labels": lambda place: (place / "labels.bin").unlink(),
    "no facts": lambda place: (place / "facts.json").unlink(),
    "truncated facts": lambda place: os.truncate(place / "facts.json", 20),
    "foreign facts": lambda place: (place / "facts.json").write_text("[]"),
    "nothing": lambda place: (shutil.rmtree(place), place.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_reported_and_rebuilt(damage, file, folder, caplog):
    load(ArrayFile(str(file)), folder)
    (name,) = entries(folder)
    DAMAGES[damage](folder / "datasets" / name)
    data = load(ArrayFile(str(file)), folder)
    assert entries(folder) == [name]
    assert np.array_equal(data.columns["images"].numpy(), images()[:, None])
    assert data.columns["labels"].tolist() == [i % 3 for i in range(10)]
    assert f"{folder / 'datasets' / name} is made again" in caplog.text
    caplog.clear()
    load(ArrayFile(str(file)), folder)
    assert not caplog.text, "it was mended"


@pytest.mark.parametrize("error", [RuntimeError, UserError, KeyboardInterrupt])
def test_decoding_that_stops_leaves_nothing_behind(error, file, folder):
    source = Counting(str(file))
    source.error = error("in the midst of it")
    with pytest.raises(error):
        load(source, folder)
    assert entries(folder) == []
    source.error = None
    assert np.array_equal(load(source, folder).columns["images"].numpy(), images()[:, None])
    assert len(entries(folder)) == 1


def test_an_entry_appears_under_its_name_only_when_it_is_complete(file, folder):
    seen = []

    class Looking(ArrayFile):
        def __iter__(self):
            for example in super().__iter__():
                seen.extend(entries(folder))
                yield example

    load(Looking(str(file)), folder)
    assert len(seen) == 10 and all(name.startswith(".") and name.endswith(".partial") for name in seen)
    assert not entries(folder)[0].startswith(".")


def test_an_entry_that_another_process_completes_meanwhile_is_kept(file, folder):
    class Overtaken(Counting):
        def __iter__(self):
            yield from super().__iter__()
            if self.decodings == 1:
                load(self, folder)

    folder.mkdir()
    (folder / "locks").touch()  # as on a file system without locks
    source = Overtaken(str(file))
    data = load(source, folder)
    assert source.decodings == 2 and len(entries(folder)) == 1
    assert np.array_equal(data.columns["images"].numpy(), images()[:, None])


def test_a_disk_too_small_is_reported_before_anything_is_decoded(file, folder, monkeypatch):
    needed = 10 * (8 * 8 + 8)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - needed + 1, needed - 1))
    source = Counting(str(file))
    with pytest.raises(UserError, match=rf"cache={folder}: .*GiB are free there.*cache=DIR.*data\.image_size"):
        load(source, folder)
    assert source.decodings == 0 and entries(folder) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - needed, needed))
    assert len(load(source, folder)) == 10


def test_an_entry_tells_what_it_was_made_from(file, folder):
    load(ArrayFile(str(file)), folder)
    (name,) = entries(folder)
    assert name.startswith("mine-8px-")
    facts = json.loads((folder / "datasets" / name / "facts.json").read_text())
    assert facts["shape"] == [10, 1, 8, 8]
    assert facts["identity"]["source"] == "ArrayFile" and facts["identity"]["file"][0][0] == str(file)


def test_the_cache_folder_may_lie_in_the_home_folder(file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    load(ArrayFile(str(file)), "~/kept")
    assert len(entries(tmp_path / "kept")) == 1


class Blank(Files):
    """``count`` missing files; each is decoded to its number in grey and noted in ``decoded``."""

    def __init__(self, count, slow=(), bad=()):
        super().__init__(Path(), [(str(i), -1) for i in range(count)], image_size=1, channels=1)
        self.slow, self.bad, self.decoded = slow, bad, set()

    def open_image(self, path):
        number = int(path.name)
        time.sleep(0.05 * (number in self.slow))
        self.decoded.add(number)
        if number in self.bad:
            raise ValueError("damaged")
        return Image.new("L", (1, 1), number % 256)


def test_images_come_in_order_though_some_take_longer():
    found = [int(pixels.item()) for pixels, _ in Blank(1000, slow=(0, 9, 500, 999))]
    assert found == [i % 256 for i in range(1000)]


def test_the_first_file_that_cannot_be_read_is_named_though_others_fail_sooner():
    with pytest.raises(UserError, match="^20 can't be read"):
        list(Blank(1000, slow=(20,), bad=(20, 21, 40, 60)))


def test_few_images_are_decoded_ahead_of_what_is_written():
    source = Blank(100_000)
    examples = iter(source)
    next(examples)
    time.sleep(0.2)  # for what would run ahead
    assert 1 < len(source.decoded) <= 2048
    examples.close()


def test_an_entry_of_an_earlier_version_is_found_again(tmp_path, folder):
    pictures = tmp_path / "pictures"
    for name in ("a/b.png", "a.png", "a b.png", "A.PNG", "a/é/\udcff.png", "b/a.png"):
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images()[0]).save(pictures / name, "png")
    digest = hashlib.sha256()
    for path in sorted(path for path in pictures.rglob("*") if path.is_file()):
        status = path.stat()
        digest.update(os.fsencode(path) + f"\0-1\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    assert ImageFolder(str(pictures)).identity()["files"] == digest.hexdigest()


def test_of_a_folder_little_is_remembered_an_image(tmp_path):
    (tmp_path / "all").mkdir()
    for i in range(1000):
        (tmp_path / "all" / f"{i:06}.jpg").touch()
    tracemalloc.start()
    source = ImageFolder(str(tmp_path), labels=True)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(source) == 1000 and held < 400 * 1000  # bytes: strings, no paths
