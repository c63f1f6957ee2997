"""MedMNIST, from small files in its published layout; nothing is downloaded."""

import hashlib
import io
import urllib.request

import numpy as np
import pytest
import torch
from sources import offline  # noqa: F401

from sparring.config.errors import UserError
from sparring.config.validation import check
from sparring.data.cache import load
from sparring.data.medmnist import SETS, MedMNIST
from sparring.training.build import open_source

COUNTS = {"train": 18, "val": 9, "test": 12}


def published(folder, name="pathmnist", size=28, channels=3, classes=9, **changed):
    """A file as MedMNIST publishes it: three splits of uint8 images, (N, H, W) if grey, and labels (N, 1)."""
    draw = np.random.default_rng(0)
    content = {}
    for split, count in COUNTS.items():
        shape = (count, size, size, 3) if channels == 3 else (count, size, size)
        content[f"{split}_images"] = draw.integers(0, 256, shape, dtype=np.uint8)
        content[f"{split}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    file = folder / (f"{name}.npz" if size == 28 else f"{name}_{size}.npz")
    np.savez_compressed(file, **(content | changed))
    return content


@pytest.mark.parametrize("split", COUNTS)
def test_images_and_labels_are_read_by_split(split, tmp_path):
    content = published(tmp_path)
    source = MedMNIST(path=str(tmp_path), split=split)
    data = load(source, tmp_path / "cache")
    assert np.array_equal(data.columns["images"].numpy(), content[f"{split}_images"].transpose(0, 3, 1, 2))
    assert data.columns["labels"].dtype == torch.int64
    assert data.columns["labels"].tolist() == [i % 9 for i in range(COUNTS[split])]
    assert data.name == "pathmnist" and data.class_names[0] == "adipose" and source.num_classes == 9


def test_a_grey_set_has_one_channel_or_as_many_as_wanted(tmp_path):
    content = published(tmp_path, "octmnist", channels=1, classes=4)
    for channels, expected in ((None, 1), (1, 1), (3, 3)):
        data = load(MedMNIST("octmnist", str(tmp_path), channels=channels), tmp_path / "cache")
        grey = content["train_images"][:, None].repeat(expected, 1)
        assert np.array_equal(data.columns["images"].numpy(), grey)


@pytest.mark.parametrize(
    ("image_size", "size"), [(28, 28), (16, 28), (32, 64), (64, 64), (65, 128), (224, 224), (256, 224)]
)
def test_the_smallest_file_that_is_large_enough_is_read(image_size, size, tmp_path):
    source = MedMNIST("breastmnist", str(tmp_path), image_size=image_size)
    assert source.file.name == ("breastmnist.npz" if size == 28 else f"breastmnist_{size}.npz")


def test_a_larger_file_is_read_and_resized(tmp_path):
    content = published(tmp_path, "breastmnist", size=64, channels=1, classes=2)
    whole = load(MedMNIST("breastmnist", str(tmp_path), image_size=64), tmp_path / "cache").columns["images"]
    assert np.array_equal(whole.numpy(), content["train_images"][:, None])
    half = load(MedMNIST("breastmnist", str(tmp_path), image_size=32), tmp_path / "cache").columns["images"]
    assert half.shape == (18, 1, 32, 32)


def test_chestmnist_has_findings_and_no_classes(tmp_path):
    findings = {f"{split}_labels": np.ones((count, 14), np.uint8) for split, count in COUNTS.items()}
    published(tmp_path, "chestmnist", channels=1, **findings)
    source = MedMNIST("chestmnist", str(tmp_path))
    assert source.num_classes == 0
    assert set(load(source, tmp_path / "cache").columns) == {"images"}


@pytest.mark.parametrize("name", SETS)
def test_every_set_names_its_classes_and_its_four_files(name):
    classes = MedMNIST(name).class_names
    sums = [MedMNIST(name, image_size=size).md5 for size in (28, 64, 128, 224)]
    assert len(set(classes)) == len(classes) == {
        "pathmnist": 9, "chestmnist": 0, "dermamnist": 7, "octmnist": 4, "pneumoniamnist": 2, "retinamnist": 5,
        "breastmnist": 2, "bloodmnist": 8, "tissuemnist": 8, "organamnist": 11, "organcmnist": 11, "organsmnist": 11,
    }[name]  # fmt: skip
    assert len(set(sums)) == 4 and all(len(bytes.fromhex(md5)) == 16 for md5 in sums)


def test_without_a_network_it_is_said_how_to_get_the_file(tmp_path):
    message = (
        r"MedMNIST could not be downloaded \(.*not known.*\)(.|\n)*"
        rf"{tmp_path}/downloads\n.*expected: +bloodmnist_64\.npz\n"
        r".*zenodo\.org/records/10519652/files/bloodmnist_64\.npz\n.*data\.path=DIR"
    )
    with pytest.raises(UserError, match=message):
        load(MedMNIST("bloodmnist", f"{tmp_path}/downloads", image_size=64), tmp_path / "cache")
    assert list((tmp_path / "downloads").iterdir()) == []


@pytest.fixture
def zenodo(tmp_path, monkeypatch):
    """A network that hands out a small file from a folder, and what its sum is; where the file is to come to."""
    (tmp_path / "zenodo").mkdir()
    published(tmp_path / "zenodo")
    file = tmp_path / "zenodo" / "pathmnist.npz"
    monkeypatch.setitem(SETS["pathmnist"], "md5_28", hashlib.md5(file.read_bytes()).hexdigest())
    asked = []

    def hand_out(request, *_, **__):
        asked.append(request.full_url)
        answer = io.BytesIO(file.read_bytes())
        answer.url, answer.length = request.full_url, file.stat().st_size
        return answer

    monkeypatch.setattr(urllib.request, "urlopen", hand_out)
    return file, tmp_path / "downloads", asked


def test_a_file_is_downloaded_once(zenodo, tmp_path):
    _, folder, asked = zenodo
    for _ in range(2):
        assert len(load(MedMNIST(path=str(folder)), tmp_path / "cache")) == 18
    assert set(asked) == {"https://zenodo.org/records/10519652/files/pathmnist.npz?download=1"}
    assert [path.name for path in folder.iterdir()] == ["pathmnist.npz"]
    asked.clear()
    assert len(load(MedMNIST(path=str(folder), split="val"), tmp_path / "cache")) == 9
    assert asked == []


def test_a_damaged_download_is_not_kept(zenodo, tmp_path):
    file, folder, _ = zenodo
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="MedMNIST could not be downloaded .*corrupted"):
        load(MedMNIST(path=str(folder)), tmp_path / "cache")
    assert list(folder.iterdir()) == []


MISTAKES = {
    "no zip": (None, r"pathmnist\.npz can't be read as a file of MedMNIST .*Remove it"),
    "volumes": (
        {"train_images": np.zeros((18, 4, 4, 4), np.uint8)},
        r"'train_images' is uint8 \(18, 4, 4, 4\)",
    ),
    "floats": ({"train_images": np.zeros((18, 28, 28))}, r"'train_images' is float64 .*must be uint8"),
    "fewer labels": (
        {"train_labels": np.zeros((17, 1), np.uint8)},
        "its labels are not those of data.of=pathmnist, 0 to 8",
    ),
    "labels below 0": ({"train_labels": np.full((18, 1), -1)}, "its labels are not those of data.of=pathmnist, 0 to 8"),
    "labels that are no numbers of classes": (
        {"train_labels": np.full((18, 1), 0.5)},
        "its labels are not those of data.of=pathmnist, 0 to 8",
    ),
    "other labels": (
        {"train_labels": np.full((18, 1), 9, np.uint8)},
        "its labels are not those of data.of=pathmnist, 0 to 8",
    ),
    "findings": (
        {"train_labels": np.zeros((18, 14), np.uint8)},
        "its labels are not those of data.of=pathmnist, 0 to 8",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_another_file_of_that_name_is_refused(mistake, tmp_path):
    changed, message = MISTAKES[mistake]
    published(tmp_path, **(changed or {}))
    if changed is None:
        (tmp_path / "pathmnist.npz").write_text("<html>not found</html>")
    with pytest.raises(UserError, match=message):
        load(MedMNIST(path=str(tmp_path)), tmp_path / "cache")


def test_an_unknown_set_lists_the_choices():
    with pytest.raises(
        ValueError, match=r"data\.of=organmnist3d: must be one of pathmnist, chestmnist, .*organsmnist$"
    ):
        MedMNIST("organmnist3d")


def test_the_configuration_learns_what_the_set_is(composed):
    cfg = composed("data=medmnist", "data.of=octmnist")
    check(cfg)
    open_source(cfg)
    assert (cfg.data.channels, cfg.data.num_classes, cfg.data.image_size) == (1, 4, 28)


def test_findings_can_not_be_scored_by_class(composed):
    with pytest.raises(UserError, match="these data have none: choose evaluation=inception"):
        open_source(composed("data=medmnist", "data.of=chestmnist"))
