"""Folders and array files of images: what is read, in which order, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TensorSet, noise_images
from sparring.config.errors import UserError
from sparring.evaluation.image_sets import Subset, open_images


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (12, 9, 7, 3), dtype=np.uint8)


def test_a_folder_is_read_in_the_order_of_its_paths_as_rgb_and_as_it_is(tmp_path, pixels):
    for i in reversed(range(6)):
        (tmp_path / "b").mkdir(exist_ok=True)
        Image.fromarray(pixels[i]).save(tmp_path / f"{i}.png")
        Image.fromarray(pixels[6 + i]).save(tmp_path / "b" / f"{i}.png")
    Image.fromarray(pixels[0, :, :, 0]).save(tmp_path / "c.png")
    (tmp_path / "notes.txt").write_text("not an image")
    images = open_images(str(tmp_path), "fake")
    assert len(images) == 13 and images.image_size == (9, 7)
    expected = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    assert torch.equal(images.images(range(12)), expected)
    assert torch.equal(images.images([11, 2]), expected[[11, 2]])
    assert torch.equal(images.images([12])[0], expected[0, :1].expand(3, -1, -1)), "grey is repeated"


def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path, pixels):
    grey = pixels[0, :, :, 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
    (found,) = open_images(str(tmp_path), "fake").images(range(1))
    assert torch.equal(found, torch.from_numpy(grey).expand(3, -1, -1))


@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NHW"])
def test_arrays_are_read_in_every_layout(suffix, layout, tmp_path, pixels):
    stored = {"NHWC": pixels, "NCHW": pixels.transpose(0, 3, 1, 2), "NHW": pixels[..., 0]}[layout]
    path = tmp_path / f"them.{suffix}"
    np.save(path, stored) if suffix == "npy" else np.savez(path, stored)  # arr_0, as other projects write it
    images = open_images(str(path), "fake")
    expected = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    assert torch.equal(images.images(range(2, 5)), (expected[:, :1] if layout == "NHW" else expected)[2:5])
    assert len(images) == 12 and images.image_size == (9, 7)


def test_labels_beside_the_images_are_kept(tmp_path, pixels):
    np.savez(tmp_path / "them.npz", images=pixels, labels=np.arange(12), others=pixels[:3])
    assert open_images(str(tmp_path / "them.npz"), "fake").labels.tolist() == list(range(12))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": np.zeros((3, 4, 4, 3), np.float32)}, "a float32 (3, 4, 4, 3); wanted: one array of images, uint8"),
        ({"a": np.zeros((3, 4, 4), np.uint8), "b": np.zeros((2, 4, 4), np.uint8)}, "named 'images'"),
        ({"a": np.array([{}], dtype=object)}, "can't be read"),
        ({}, "holds nothing"),
    ],
)
def test_arrays_that_are_not_images_are_refused_with_what_would_be_right(content, said, tmp_path):
    np.savez(tmp_path / "them.npz", **content)
    with pytest.raises(UserError) as error:
        open_images(str(tmp_path / "them.npz"), "fake")
    assert said in str(error.value) and str(error.value).startswith("fake=")


def test_a_folder_of_several_sizes_is_refused_naming_them(tmp_path, pixels):
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    Image.fromarray(pixels[0, :5]).save(tmp_path / "grid.png")
    with pytest.raises(UserError, match=r"real=.*2 sizes: 7x9 \(1, e.g. a.png\), 7x5 \(1, e.g. grid.png\)"):
        open_images(str(tmp_path), "real")


def test_a_damaged_file_is_named_before_any_work(tmp_path, pixels):
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="b.png can't be read"):
        open_images(str(tmp_path), "fake")


@pytest.mark.parametrize("name", ["nowhere", "nowhere.npz", "text.txt", "empty"])
def test_missing_files_and_files_without_images_are_refused(name, tmp_path):
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"fake={tmp_path}/{name}: "):
        open_images(str(tmp_path / name), "fake")


def test_a_subset_is_a_fair_sample_and_always_the_same():
    whole = TensorSet(noise_images(1000), torch.arange(1000))
    one, other = Subset(whole, 200), Subset(whole, 200)
    assert torch.equal(one.labels, other.labels) and len(one) == 200 == len(one.labels.unique())
    assert 80 < (one.labels < 500).sum() < 120, "data sets are often sorted by class"
    assert torch.equal(one.images(range(10, 20)), whole.pixels[one.labels[10:20]])
    assert one.identity != whole.identity
