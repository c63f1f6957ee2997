"""CelebA as its authors and as Kaggle pack it, and from a Google Drive that works."""

import hashlib
import zipfile
from pathlib import Path

import gdown
import numpy as np
import pytest
import torchvision
from PIL import Image
from sources import examples, offline, paint  # noqa: F401

from sparring.config.errors import UserError
from sparring.data.cache import load
from sparring.data.celeba import CelebA

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
        paint(folder / "img_align_celeba" / name, (30 * n,) * 3, (178, 218))
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
        paint(folder / "img_align_celeba" / "img_align_celeba" / name, (30 * n,) * 3, (178, 218))
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


def test_a_web_page_saved_as_the_zip_is_named(tmp_path):
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


def test_the_list_of_attributes_is_asked_for_only_with_an_attribute(tmp_path):
    folder = celeba(tmp_path / "celeba", attributes=False)
    CelebA(str(tmp_path)).prepare()
    with pytest.raises(UserError, match=r"list_attr_celeba\.txt") as error:
        CelebA(str(tmp_path), attribute="Smiling").prepare()
    assert str(folder) in str(error.value)
