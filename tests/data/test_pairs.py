"""Data for translation: inputs and images from folders, halves of pictures and arrays, paired or not."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from sparring.config.errors import UserError
from sparring.data.cache import load
from sparring.data.pairs import Pairs, Unpaired
from sparring.data.source import Arrays
from sparring.training.build import open_source

SIZE = {"image_size": 4}
NAMES = ["b", "a", "a-1", "x", "x.k", "deep/c"]  # x.jpg < x.k.jpg, but x.png > x.k.png


def grey(brightness, size=(4, 4)):
    return Image.new("RGB", size, (brightness,) * 3)


def folders(place, names=NAMES, inputs="A", images="B", others=()):
    """Two folders of pictures: of each name an input of brightness 10 i and an image of 10 i + 100."""
    for side, base, ending in ((inputs, 0, "png"), (images, 100, "jpg")):
        for i, name in enumerate([*names, *(others if side == images else ())]):
            file = place / side / f"{name}.{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            grey(base + 10 * i).save(file, quality=100)
    return place


def halves(place, count=3, size=(8, 4)):
    """Pictures whose left half is of brightness 10 i, the right one of 10 i + 100."""
    place.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture = grey(10 * i, size)
        picture.paste(grey(10 * i + 100, size), (size[0] // 2, 0))
        picture.save(place / f"{i}.png")
    return place


def arrays(place, a=6, b=6, size=4, **others):
    """A .npz of ``a`` pictures of brightness 10 i, ``b`` of 10 i + 100, or of what else is given by these names."""

    def ramp(base, given):
        if not isinstance(given, int):
            return given
        steps = np.arange(base, base + 10 * given, 10, dtype=np.uint8)
        return np.ones((given, size, size, 3), np.uint8) * steps[:, None, None, None]

    np.savez(place / "mine.npz", a=ramp(0, a), b=ramp(100, b), **others)
    return place / "mine.npz"


def brightness(column):
    """Of each image, to the next ten."""
    return [10 * round(float(image.float().mean()) / 10) for image in column]


def decoded(source, cache):
    columns = load(source, cache).columns
    assert set(columns) == {"images", "inputs"}
    return columns["images"], columns["inputs"]


LAYOUTS = {
    "folders": lambda place: (folders(place), {}),
    "train folders": lambda place: (
        folders(folders(place, inputs="trainA", images="trainB"), ["t"], "testA", "testB"),
        {},
    ),
    "named folders": lambda place: (
        folders(place, inputs="map", images="photo"),
        {"inputs_name": "map", "images_name": "photo"},
    ),
    "halves": lambda place: (halves(place), {"side_by_side": True}),
    "train halves": lambda place: (halves(halves(place / "train").with_name("test")).parent, {"side_by_side": True}),
    "arrays": lambda place: (arrays(place), {}),
    "named arrays": lambda place: (
        arrays(place, x=np.full((2, 4, 4), 40, np.uint8), y=np.full((2, 4, 4), 140, np.uint8)),
        {"inputs_key": "x", "images_key": "y"},
    ),
}


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


# ---- pairs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_every_layout_row_i_of_the_inputs_belongs_to_row_i_of_the_images(layout, place, cache):
    path, options = LAYOUTS[layout](place)
    count = {"named arrays": 2, "halves": 3, "train halves": 3}.get(layout, 6)
    images, inputs = decoded(Pairs(str(path), **SIZE, **options), cache)
    channels = 1 if layout == "named arrays" else 3
    assert images.shape == inputs.shape == (count, channels, 4, 4)
    assert images.dtype == inputs.dtype == torch.uint8
    assert brightness(images) == [100 + value for value in brightness(inputs)]
    assert sorted(brightness(inputs)) == ([40, 40] if layout == "named arrays" else [10 * i for i in range(count)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_roles_can_be_exchanged(layout, place, cache):
    path, options = LAYOUTS[layout](place)
    images, inputs = decoded(Pairs(str(path), **SIZE, **options), cache)
    of_b, of_a = decoded(Pairs(str(path), **SIZE, **options, reverse=True), cache)
    assert torch.equal(of_b, inputs) and torch.equal(of_a, images)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [Pairs, Unpaired])
def test_there_are_as_many_inputs_channels_as_wanted(kind, layout, place, cache):
    path, options = LAYOUTS[layout](place)
    for channels, input_channels in ((1, 3), (3, 1)):
        source = kind(str(path), **SIZE, channels=channels, input_channels=input_channels, **options)
        assert (source.channels, source.inputs.channels) == (channels, input_channels)
        images, inputs = decoded(source, cache)
        assert (images.shape[1], inputs.shape[1]) == (channels, input_channels)
    assert kind(str(path), channels=1, **SIZE, **options).inputs.channels == 1


def test_files_are_made_256_pixels_wide_and_arrays_keep_their_own_size_unless_another_is_named(place, cache):
    assert Pairs(str(folders(place, ["a"]))).image_size == 256
    path = arrays(place, size=6, a=2, b=2, small=np.zeros((2, 3, 5), np.uint8))
    assert [column.shape[2:] for column in decoded(Pairs(str(path)), cache)] == [(6, 6)] * 2
    assert [column.shape[2:] for column in decoded(Pairs(str(path), inputs_key="small"), cache)] == [(6, 6)] * 2
    assert [column.shape[2:] for column in decoded(Pairs(str(path), image_size=8), cache)] == [(8, 8)] * 2


def test_each_half_is_cropped_to_its_own_centre(place, cache):
    picture = Image.new("RGB", (12, 4), "black")  # two halves of 6x4, their margins black and their centres white, grey
    picture.paste(grey(255), (1, 0))
    picture.paste(grey(90), (7, 0))
    picture.save(place / "1.png")
    images, inputs = decoded(Pairs(str(place), side_by_side=True, **SIZE), cache)
    assert inputs.eq(255).all() and images.eq(90).all()


def test_pictures_of_two_halves_may_share_a_name(place, cache):
    shutil.copy(halves(place) / "2.png", place / "1.bmp.png")
    Image.open(place / "0.png").save(place / "1.bmp")
    images, inputs = decoded(Pairs(str(place), side_by_side=True, **SIZE), cache)
    assert brightness(images) == [100 + value for value in brightness(inputs)] and len(images) == 5


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_split_is_its_own_folders(split, side_by_side, place, cache):
    for name, count in (("train", 2), ("val", 3)):
        halves(place / name, count)
        folders(place, NAMES[:count], f"{name}A", f"{name}B")
    images, _ = decoded(Pairs(str(place), **SIZE, split=split, side_by_side=side_by_side), cache)
    assert len(images) == {"train": 2, "val": 3}[split]


@pytest.mark.parametrize("bad", ["A/x.png", "B/x.jpg"])
def test_an_unreadable_file_is_named_or_its_pair_left_out(bad, place, cache):
    (folders(place) / bad).write_bytes(b"no picture")
    with pytest.raises(UserError, match=rf"{bad} can't be read as an image"):
        load(Pairs(str(place), **SIZE), cache)
    data = load(Pairs(str(place), **SIZE, on_bad_image="skip"), cache)
    assert len(data) == len(data.columns["inputs"]) == 5 and data.skipped == 1
    assert brightness(data.columns["images"]) == [100 + value for value in brightness(data.columns["inputs"])]
    assert 30 not in brightness(data.columns["inputs"])


def test_data_without_a_readable_pair_are_refused(place, cache):
    (folders(place, ["a"]) / "A/a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="none of the 1 images of data can be read"):
        load(Pairs(str(place), **SIZE, on_bad_image="skip"), cache)


# ---- mistakes ---------------------------------------------------------------------------------------------------

MISTAKES = {
    "lonely input": (
        lambda p: (folders(p) / "B/b.jpg").unlink(),
        {},
        r"A: 1 of 6 images have no partner .*B: b \(.*data=unpaired",
    ),
    "lonely images": (
        lambda p: folders(p, others=["q", "r", "s", "t"]),
        {},
        r"B: 4 of 10 images have no partner of their name in .*A: q, r, s \.\.\. ",
    ),
    "two of a name": (lambda p: grey(0).save(folders(p) / "A/b.bmp"), {}, "A: two files are called b"),
    "no path": (shutil.rmtree, {}, "data.path=.*: no such folder, and no .npz"),
    "no folder": (
        lambda p: folders(p, images="C"),
        {},
        "no folder trainB or B in it; it holds A, C. .*data.images_name",
    ),
    "no split": (lambda p: folders(p), {"split": "test"}, "no folder test[AB] in it; it holds A, B. .*data.split"),
    "empty": (lambda p: [(p / "A").mkdir(), (p / "B").mkdir()], {}, "data.path=.*[AB]: no image"),
    "odd width": (
        lambda p: halves(p, size=(7, 4)),
        {"side_by_side": True},
        r"png can't be .*7 pixels wide.*no two equal",
    ),
    "bad channels": (folders, {"input_channels": 2}, r"data.input_channels=2: must be 1 \(grey\) or 3 \(RGB\)"),
}
FILE_MISTAKES = {
    "no file": (lambda p: (p / "mine.npz").unlink(), {}, "data.path=.*mine.npz: no such file"),
    "no array": (arrays, {"inputs_key": "x"}, "data.inputs_key=x: .* holds a, b"),
    "no target": (arrays, {"images_key": "x"}, "data.images_key=x: .* holds a, b"),
    "unequal": (lambda p: arrays(p, a=5), {}, "5 inputs and 6 images; row i .*data=unpaired"),
    "floats": (lambda p: arrays(p, a=np.zeros((6, 4, 4))), {}, r"'a' is float64 \(6, 4, 4\); images must be uint8"),
    "oblong": (lambda p: arrays(p, b=np.zeros((6, 4, 5), np.uint8)), {}, "its images are 4x5; .*data.image_size"),
    "halves": (arrays, {"side_by_side": True}, "data.side_by_side=true: data.path=.*npz is no folder"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_about_folders_is_named(mistake, place, cache):
    prepare, options, message = MISTAKES[mistake]
    prepare(place)
    with pytest.raises(ValueError, match=message):
        load(Pairs(str(place), **(SIZE | options)), cache)


@pytest.mark.parametrize("mistake", FILE_MISTAKES)
def test_a_mistake_about_arrays_is_named(mistake, place):
    arrays(place)
    prepare, options, message = FILE_MISTAKES[mistake]
    prepare(place)
    with pytest.raises(UserError, match=message):
        Pairs(str(place / "mine.npz"), **options)


# ---- unpaired ---------------------------------------------------------------------------------------------------


def test_unpaired_folders_need_no_names_in_common(place, cache):
    folders(place, ["h1", "h2"], "trainA", "none")
    folders(place, ["z1", "z2", "z3"], "none", "trainB")
    data = load(Unpaired(str(place), **SIZE), cache)
    assert not data.paired and len(data) == 3
    assert brightness(data.columns["inputs"]) == [0, 10] and brightness(data.columns["images"]) == [100, 110, 120]


def test_unpaired_arrays_of_any_lengths_are_kept_in_their_order(place, cache):
    data = load(Unpaired(str(arrays(place, a=3, b=7))), cache)
    assert brightness(data.columns["inputs"]) == [0, 10, 20]
    assert brightness(data.columns["images"]) == [100 + 10 * i for i in range(7)]
    assert load(Pairs(str(arrays(place))), cache).paired


def test_of_unpaired_files_an_unreadable_one_takes_no_other_with_it(place, cache):
    (folders(place) / "A/x.png").write_bytes(b"no picture")
    data = load(Unpaired(str(place), **SIZE, on_bad_image="skip"), cache)
    assert (len(data.columns["inputs"]), len(data.columns["images"]), data.skipped) == (5, 6, 1)


# ---- the cache --------------------------------------------------------------------------------------------------


def entry(cache):
    (place,) = [path for path in (cache / "datasets").iterdir() if path.is_dir()]
    return place


@pytest.mark.parametrize("kind", [Pairs, Unpaired])
def test_both_are_decoded_once(kind, place, cache, monkeypatch):
    source = kind(str(arrays(place, a=5 if kind is Unpaired else 6)))
    first = load(source, cache)
    facts = json.loads((entry(cache) / "facts.json").read_text())
    assert facts["shape"] == [6, 3, 4, 4] and facts["inputs_shape"] == [len(first.columns["inputs"]), 3, 4, 4]
    monkeypatch.setattr(Arrays, "__iter__", lambda self: pytest.fail("decoded again"))
    again = load(kind(str(place / "mine.npz")), cache)
    assert again.key == first.key and again.paired == first.paired
    assert all(torch.equal(again.columns[name], column) for name, column in first.columns.items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / "inputs.bin").unlink(),
        lambda entry: os.truncate(entry / "inputs.bin", 100),
        lambda entry: os.truncate(entry / "images.bin", 100),
    ],
)
def test_half_of_an_entry_is_not_read(damage, place, cache):
    first = {n: c.clone() for n, c in load(Pairs(str(arrays(place))), cache).columns.items()}
    damage(entry(cache))
    again = load(Pairs(str(place / "mine.npz")), cache).columns
    assert all(torch.equal(again[name], column) for name, column in first.items())


@pytest.mark.parametrize(
    "change",
    [
        lambda path: Unpaired(path),
        lambda path: Pairs(path, reverse=True),
        lambda path: Pairs(path, input_channels=1),
        lambda path: Pairs(path, inputs_key="c"),
        lambda path: Pairs(path, image_size=8),
    ],
)
def test_other_settings_make_another_entry(change, place, cache):
    path = str(arrays(place, c=np.zeros((6, 4, 4, 3), np.uint8)))
    assert load(change(path), cache).key != load(Pairs(path), cache).key


def test_a_changed_input_makes_another_entry(place, cache):
    before = load(Pairs(str(folders(place)), **SIZE), cache).key
    assert load(Pairs(str(place), **SIZE), cache).key == before
    grey(255).save(place / "A/b.png")
    os.utime(place / "A/b.png", ns=(0, 0))
    assert load(Pairs(str(place), **SIZE), cache).key != before


def test_the_space_for_both_is_asked_for(place, cache, monkeypatch):
    needed = 2 * 6 * (3 * 4 * 4 + 8)
    usage = shutil.disk_usage(place)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    with pytest.raises(UserError, match="are free there"):
        load(Pairs(str(arrays(place))), cache)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    assert len(load(Pairs(str(place / "mine.npz")), cache)) == 6


# ---- the configuration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pairs", "unpaired"])
def test_the_configuration_learns_what_the_data_are(kind, place, composed):
    path = arrays(place, a=np.zeros((6, 4, 4, 1), np.uint8))
    for extra, expected in (([], 3), (["data.input_channels=1"], 1), (["data.channels=1"], 1)):
        cfg = composed(f"data={kind}", f"data.path={path}", "evaluation=none", *extra)
        source = open_source(cfg)
        assert cfg.data.image_size == 4 and cfg.data.num_classes == 0
        assert cfg.data.input_channels == source.inputs.channels == expected
        assert source.paired == (kind == "pairs")
