"""A person's own folder of images."""

import os
import re
import sys
from pathlib import Path

import pytest
from PIL import Image
from sources import examples, noise, paint

from sparring.config.errors import UserError
from sparring.data.cache import load
from sparring.data.image_folder import ImageFolder


@pytest.fixture
def pictures(tmp_path):
    """Images of every kind, nested, with other files between them."""
    folder = tmp_path / "pictures"
    paint(folder / "cats" / "a.jpg", (200, 0, 0), quality=100)
    paint(folder / "cats" / "old" / "deep" / "b.JPEG", (200, 0, 0))
    paint(folder / "dogs" / "c.png", (0, 200, 0))
    paint(folder / "dogs" / "d.webp", (0, 200, 0))
    paint(folder / "emus" / "e.bmp", (0, 0, 200))
    paint(folder / "emus" / "moving.gif")
    (folder / "emus" / "notes.txt").write_text("not an image")
    (folder / "emus" / "._e.bmp").write_text("what macOS leaves beside a file")
    return folder


def test_a_folder_yields_every_image_below_it_and_nothing_else(pictures):
    source = ImageFolder(str(pictures), image_size=8)
    pixels, labels = examples(source)
    assert [Path(path).name for path, _ in source.files] == ["a.jpg", "b.JPEG", "c.png", "d.webp", "e.bmp"]
    assert pixels.argmax(1)[:, 4, 4].tolist() == [0, 0, 1, 1, 2]  # red, red, green, green, blue
    assert source.num_classes == 0 and set(labels) == {-1}
    assert source.name == "pictures"


def test_sub_folders_name_the_classes_if_asked(pictures):
    source = ImageFolder(str(pictures), image_size=8, labels=True)
    assert source.class_names == ["cats", "dogs", "emus"]
    assert examples(source)[1] == [0, 0, 1, 1, 2]


def test_an_image_outside_the_classes_is_named(pictures):
    paint(pictures / "loose.png")
    with pytest.raises(UserError, match=r"data\.labels=true.*loose\.png"):
        ImageFolder(str(pictures), labels=True)
    assert len(ImageFolder(str(pictures))) == 6


@pytest.mark.parametrize("channels", [1, 3])
def test_images_become_as_grey_or_coloured_and_as_large_as_asked(channels, pictures):
    assert examples(ImageFolder(str(pictures), image_size=16, channels=channels))[0].shape == (5, channels, 16, 16)


@pytest.mark.parametrize("damage", ["text", "truncated", "empty"])
def test_an_unreadable_image_is_named(damage, pictures):
    victim = pictures / "dogs" / "c.png"
    Image.fromarray(noise(8, 12, 3)).save(victim)
    content = {"text": b"not an image", "truncated": victim.read_bytes()[:200], "empty": b""}[damage]
    victim.write_bytes(content)
    with pytest.raises(UserError, match=rf"{re.escape(str(victim))} can't be read(.|\n)*data\.on_bad_image=skip"):
        examples(ImageFolder(str(pictures), image_size=8))


def test_unreadable_images_are_skipped_and_counted_if_asked(pictures, tmp_path, caplog):
    (pictures / "cats" / "a.jpg").write_bytes(b"not an image")
    (pictures / "dogs" / "d.webp").write_bytes(b"")
    data = load(ImageFolder(str(pictures), image_size=8, labels=True, on_bad_image="skip"), tmp_path / "cache")
    assert data.skipped == 2
    assert "2 unreadable images" in caplog.text
    assert len(data) == len(data.columns["images"]) == 3
    assert data.columns["labels"].tolist() == [0, 1, 2]
    assert data.columns["images"].argmax(1)[:, 4, 4].tolist() == [0, 1, 2]  # each with its own label


def test_a_folder_without_a_readable_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match="none of the 1 images"):
        load(ImageFolder(str(tmp_path), on_bad_image="skip"), tmp_path / "cache")


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"data\.path=.*nowhere: no such folder"):
        ImageFolder(str(tmp_path / "nowhere"))
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(UserError, match=rf"data\.path={re.escape(str(tmp_path))}: no image \(.*\.jpg"):
        ImageFolder(str(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_file_names_may_be_of_any_encoding(tmp_path):
    paint(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    assert len(load(ImageFolder(str(tmp_path)), tmp_path / "cache")) == 1


def test_hidden_folders_are_left_out(pictures):
    paint(pictures / ".ipynb_checkpoints" / "a-checkpoint.png")
    assert ImageFolder(str(pictures), labels=True).class_names == ["cats", "dogs", "emus"]


def test_a_link_to_a_folder_above_adds_no_images(pictures):
    os.symlink(pictures, pictures / "cats" / "loop")
    assert len(ImageFolder(str(pictures))) == 5


def test_a_link_to_nowhere_counts_as_an_unreadable_image(pictures, tmp_path):
    os.symlink(tmp_path / "gone.png", pictures / "link.png")
    assert load(ImageFolder(str(pictures), on_bad_image="skip"), tmp_path / "cache").skipped == 1
