"""Single things that may be wrong with data, and what is said of each, or made of it."""

import os
import subprocess
import unicodedata

import numpy as np
import psutil
import pytest
import torch
from hostile import declared, lay, stored
from PIL import Image

from sparring.config.errors import UserError
from sparring.data.array_file import ArrayFile
from sparring.data.cache import load
from sparring.data.dataset import Data
from sparring.data.image_folder import ImageFolder
from sparring.data.pairs import Pairs
from sparring.evaluation.extractors.classifier import Classifier
from sparring.evaluation.image_sets import open_images
from sparring.sampling.translate_files import translate_files
from translators import a_sampler


@pytest.fixture
def folder(tmp_path):
    """Three images of each of two classes."""
    for n in range(6):
        path = tmp_path / "pictures" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (40 * n,) * 3).save(path)
    return tmp_path / "pictures"


def check_refused(folder, message: str, **options):
    with pytest.raises(UserError, match=message):
        load(ImageFolder(str(folder), 8, **options), folder.parent / "cache")


@pytest.mark.parametrize("kind", ["pipe", "socket", "zeros", "nowhere", "itself"])
def test_what_is_no_regular_file_is_named_and_not_waited_for(kind, folder):
    lay(folder, [((), "x", ".png", kind)])
    check_refused(folder, r"x\.png can't be read as an image \(.+\)(.|\n)*data.on_bad_image=skip")
    assert load(ImageFolder(str(folder), 8, on_bad_image="skip"), folder.parent / "cache").skipped == 1
    with pytest.raises(UserError, match=r"fake=.*x\.png can't be read as an image"):
        open_images(str(folder), "fake")
    with pytest.raises(UserError, match=r"1 of 7 images were left out:\n.*x\.png can't be read"):
        translate_files(a_sampler(), folder, 3, folder.parent / "out")
    lay(folder, [((), "x", ".npy", kind)])
    with pytest.raises(UserError, match=r"data\.path=.*x\.npy.*no (regular|such) file"):
        ArrayFile(str(folder / "x.npy"))


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "jpg"])
def test_a_small_file_of_a_huge_image_is_refused_by_its_header(suffix, folder):
    path = folder / f"x.{suffix}"
    Image.new("L", (9, 9)).save(path)
    path.write_bytes(declared(path.read_bytes(), 20_000))
    path.rename(folder / "x.png")
    check_refused(folder, r"x\.png can't be read as an image \(.*400000000 pixels")


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 50), (1, 1)])
def test_images_of_any_shape_are_cropped_and_resized(size, folder):
    Image.new("RGB", size, (7, 7, 7)).save(folder / "x.png")
    pixels = load(ImageFolder(str(folder), 8, crop=10**6), folder.parent / "cache").columns["images"]
    assert pixels.shape == (7, 3, 8, 8) and torch.equal(pixels[-1], torch.full_like(pixels[-1], 7))


def test_folders_that_link_to_each_other_are_walked_once(folder, tmp_path):
    names = [f"f{n}" for n in range(12)]  # whose orders are 479 million
    for name in names:
        (folder / name).mkdir()
        Image.new("RGB", (9, 9)).save(folder / name / "x.png")
        for other in names:
            (folder / name / f"to {other}").symlink_to(folder / other)
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "outside" / "deep" / "x.png")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "link again").symlink_to(tmp_path / "outside" / "deep")
    assert len(ImageFolder(str(folder), 8)) == 6 + 12 + 1


def test_a_very_deep_folder_is_walked(tmp_path):
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1050):  # of folders that Python may not call one from another
            os.mkdir("d")
            os.chdir("d")
        Image.new("RGB", (9, 9)).save("x.png")
        assert len(ImageFolder(str(tmp_path), 8)) == 1
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # pytest would fail to


def test_a_class_without_a_readable_image_is_named(folder):
    for path in (folder / "b").iterdir():
        path.write_bytes(b"")
    check_refused(
        folder,
        "data.on_bad_image=skip: none of the images of the class b of pictures",
        labels=True,
        on_bad_image="skip",
    )


def test_a_file_that_vanishes_is_named(folder):
    source = ImageFolder(str(folder), 8)
    (folder / "a" / "2.png").unlink()
    with pytest.raises(UserError, match=r"2\.png can't be read as an image \(No such file"):
        load(source, folder.parent / "cache")
    images = open_images(str(folder), "fake")
    (folder / "a" / "0.png").unlink()
    with pytest.raises(UserError, match=r"0\.png can't be read as an image \(No such file"):
        images.images(range(len(images)))


def test_a_name_belongs_to_a_pair_however_its_letters_are_written(tmp_path):
    for side, form in (("A", "NFC"), ("B", "NFD")):
        (tmp_path / "data" / side).mkdir(parents=True)
        Image.new("L", (9, 9)).save(tmp_path / "data" / side / f"{unicodedata.normalize(form, 'été')}.png")
    assert len(load(Pairs(str(tmp_path / "data"), 8), tmp_path / "cache")) == 1


def test_long_names_are_decoded_and_a_name_too_long_for_a_translation_is_reported(tmp_path):
    long = "日" * 80  # of 240 bytes
    (tmp_path / long).mkdir()
    Image.new("L", (9, 9)).save(tmp_path / long / f"{long}.png")
    assert len(load(ImageFolder(str(tmp_path / long), 8), tmp_path / "cache")) == 1
    with pytest.raises(UserError, match="1 of 1 images were left out:\n.*too long .*at most 230 bytes"):
        translate_files(a_sampler(), tmp_path / long, 1, tmp_path / "out")


LABELS = {
    "huge": ([0, 1, 10**18, 2], "i8", r"'labels' goes up to 10{18} but 9{11}[\d,]* of the labels|never occur"),
    "beyond all": ([0, 1, 2**64 - 1, 2], "u8", "never occur; number the classes"),
    "negative": ([0, 1, -3, 2], "i2", r"'labels' holds -3; labels must be integers from 0, of shape \(4,\)"),
}


@pytest.mark.parametrize("labels", LABELS)
def test_labels_out_of_range_are_refused(labels, tmp_path):
    listed, kind, message = LABELS[labels]
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.array(listed, dtype=kind))
    with pytest.raises(UserError, match=message):
        ArrayFile(str(tmp_path / "x.npz"))
    with pytest.raises(UserError, match=r"its labels lie between .*below 65,536"):
        open_images(str(tmp_path / "x.npz"), "real")


def test_an_array_larger_than_the_memory_is_refused_with_a_remedy(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", images=np.zeros((64, 128, 128), np.uint8))
    memory = psutil.virtual_memory()._replace(available=2**19)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(UserError, match=r"data\.path=.*x\.npz.*images takes 0\.0 GiB .*\.npy, as np\.save writes it"):
        ArrayFile(str(tmp_path / "x.npz"))


@pytest.mark.parametrize("shape", [(10**12, 8, 8), (-4, 8, 8), (2**62, 2**62, 4)])
def test_an_array_shorter_than_its_header_says_is_refused(shape, tmp_path):
    (tmp_path / "x.npy").write_bytes(stored(np.zeros((4, 8, 8), np.uint8), shape))
    with pytest.raises(UserError, match=r"x\.npy can't be read .*images should be uint8 \(.* but holds 256 bytes"):
        ArrayFile(str(tmp_path / "x.npy"))


def test_a_classifier_wants_two_classes(tmp_path):
    columns = {"images": torch.zeros(60, 1, 8, 8, dtype=torch.uint8), "labels": torch.zeros(60, dtype=torch.int64)}
    with pytest.raises(UserError, match="evaluation=fast .* these data have one: choose evaluation=inception"):
        Classifier().prepare("cpu", Data(columns, "key", ["all"]), tmp_path)
