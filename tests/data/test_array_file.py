"""A person's own images in a .npz or .npy file."""

import numpy as np
import pytest
from sources import examples, noise

from sparring.config.errors import UserError
from sparring.data.array_file import ArrayFile


def array_file(path, images, **others):
    if path.suffix == ".npy":
        np.save(path, images)
    else:
        np.savez(path, images=images, **others)
    return str(path)


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
@pytest.mark.parametrize(("shape", "channels"), [((6, 8, 8), 1), ((6, 8, 8, 1), 1), ((6, 8, 8, 3), 3)])
def test_an_array_file_has_its_own_size_and_colours_by_default(suffix, shape, channels, tmp_path):
    images = noise(*shape)
    source = ArrayFile(array_file(tmp_path / f"mine{suffix}", images))
    pixels, labels = examples(source)
    assert (source.image_size, source.channels, source.num_classes) == (8, channels, 0)
    assert np.array_equal(pixels, images.reshape(6, 8, 8, channels).transpose(0, 3, 1, 2))
    assert labels == [-1] * 6


def test_an_array_file_may_carry_labels(tmp_path):
    source = ArrayFile(array_file(tmp_path / "mine.npz", noise(4, 8, 8), labels=np.array([2, 0, 1, 2], np.uint8)))
    assert source.class_names == ["0", "1", "2"]
    assert examples(source)[1] == [2, 0, 1, 2]


def test_the_arrays_of_an_array_file_may_have_other_names(tmp_path):
    np.savez(tmp_path / "mine.npz", x=noise(4, 8, 8), y=np.array([0, 1, 1, 0]), images=noise(1, 4, 4))
    source = ArrayFile(str(tmp_path / "mine.npz"), images_key="x", labels_key="y")
    assert examples(source)[1] == [0, 1, 1, 0]
    assert ArrayFile(str(tmp_path / "mine.npz"), images_key="x", labels_key="none").num_classes == 0


def test_arrays_are_cropped_resized_and_coloured_as_asked(tmp_path):
    images = np.full((2, 8, 12), 7, np.uint8)
    images[:, :, :2] = images[:, :, 10:] = 255  # what the centre square leaves out
    path = array_file(tmp_path / "mine.npy", images)
    pixels, _ = examples(ArrayFile(path, image_size=8, channels=3))
    assert pixels.shape == (2, 3, 8, 8) and np.all(pixels == 7)
    assert examples(ArrayFile(path, image_size=4))[0].shape == (2, 1, 4, 4)


@pytest.mark.parametrize(
    ("images", "others", "message"),
    [
        (noise(2, 8, 8) / 255, {}, r"data\.path=.*'images' is float64 \(2, 8, 8\).*must be uint8"),
        (noise(2, 3, 8, 8), {}, r"data\.path=.*\(2, 3, 8, 8\).*must be uint8 of shape"),
        (noise(0, 8, 8), {}, r"data\.path=.*holds no images"),
        (noise(2, 8, 12), {}, r"data\.path=.*8x12.*data\.image_size="),
        (noise(2, 8, 8), {"labels": np.array([0.0, 1.0])}, r"data\.path=.*'labels' is float64.*data\.labels_key"),
        (noise(2, 8, 8), {"labels": np.array([0, 1, 2])}, r"data\.path=.*'labels' is int64 \(3,\).*shape \(2,\)"),
        (noise(2, 8, 8), {"labels": np.array([-1, 1])}, r"data\.path=.*integers from 0"),
        (np.array([{}, {}], dtype=object), {}, r"data\.path=.*can't be read"),
    ],
    ids=["floats", "channels-first", "empty", "not-square", "float-labels", "too-many-labels", "negative", "objects"],
)
def test_arrays_that_are_no_images_are_refused(images, others, message, tmp_path):
    with pytest.raises(UserError, match=message):
        ArrayFile(array_file(tmp_path / "mine.npz", images, **others))


def test_a_missing_array_names_those_that_are_there(tmp_path):
    with pytest.raises(UserError, match=r"data\.images_key=pictures:.*holds images, labels"):
        ArrayFile(array_file(tmp_path / "a.npz", noise(2, 8, 8), labels=np.zeros(2, int)), images_key="pictures")


def test_a_missing_or_foreign_array_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"data\.path=.*nowhere\.npz: no such file"):
        ArrayFile(str(tmp_path / "nowhere.npz"))
    (tmp_path / "table.npz").write_text("1, 2, 3")
    with pytest.raises(UserError, match=r"data\.path=.*table\.npz can't be read"):
        ArrayFile(str(tmp_path / "table.npz"))


def test_a_damaged_array_file_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "mine.npz", images=noise(50, 8, 8))
    content = bytearray((tmp_path / "mine.npz").read_bytes())
    content[100:300] = bytes(200)
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"data\.path=.*mine\.npz can't be read"):
        ArrayFile(str(tmp_path / "mine.npz"))
