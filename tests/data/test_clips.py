"""Clips and voxels: where digits go, what solids are, and a person's own files of them."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from sparring.config.errors import UserError
from sparring.data import cache
from sparring.data.gif_folder import ClipFolder
from sparring.data.moving_digits import MovingDigits
from sparring.data.synthetic_solids import Solids
from sparring.data.volume_file import Volumes


@pytest.fixture(scope="module")
def digits():
    return MovingDigits(frames=16, image_size=32, digit_size=20, speed=1.0).drawn()


def middles(clips: torch.Tensor) -> torch.Tensor:
    """Where the light of each frame lies on average: (batch, frames, 2), x and y in pixels."""
    light = clips[:, 0].float()
    places = torch.arange(light.shape[-1]).float()
    return (
        torch.stack([(light.sum(2) * places).sum(2), (light.sum(3) * places).sum(2)], 2) / light.sum((2, 3))[..., None]
    )


def test_every_digit_sets_out_in_the_direction_of_its_label_and_moves_straight(digits):
    clips, labels = digits.columns["images"], digits.columns["labels"]
    assert clips.shape == (5000, 1, 16, 32, 32) and clips.dtype == torch.uint8
    assert labels.bincount().tolist() == [125] * 40 and digits.class_names[23] == "3 left"
    steps = middles(clips).diff(dim=1)
    ahead = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])[labels // 10]
    along = (steps[:, 0] * ahead).sum(1)
    assert (along > steps[:, 0].norm(dim=1) * 0.84).float().mean() > 0.99  # 30 degrees and what rounding does
    torch.testing.assert_close(steps[:, 0].norm(dim=1).mean(), torch.tensor(1.0), rtol=0, atol=0.03)
    even = (steps[:, 1:] - steps[:, :-1]).norm(dim=2) < 0.1
    assert even.float().mean() > 0.8, "but where it comes back from a border"
    assert (along > 0).all() and (steps * ahead[:, None]).sum(2).min() < -0.4, "some came back"


def test_a_digit_keeps_its_shape_and_never_leaves_the_frame(digits):
    light = digits.columns["images"][::10].float().sum((1, 3, 4))
    assert (light.std(1) / light.mean(1)).max() < 0.02


def test_clips_are_the_same_for_everyone_and_other_settings_are_other_clips(tmp_path):
    first, again = (cache.load(MovingDigits(frames=2), tmp_path) for _ in range(2))
    assert again.key == first.key and torch.equal(again.columns["images"], first.columns["images"])
    assert not list(tmp_path.iterdir()), "nothing is kept"
    assert MovingDigits(speed=2.0, frames=2).drawn().key != first.key


@pytest.mark.parametrize("wrong", [{"digit_size": 24}, {"image_size": 16}])
def test_digits_without_room_to_move_are_refused(wrong):
    with pytest.raises(ValueError, match=r"digit_size=\d+: must be less than image_size"):
        MovingDigits(**wrong)


def test_solids_are_what_their_labels_say():
    data = Solids(image_size=24, count=100).drawn()
    solids, labels = data.columns["images"], data.columns["labels"]
    assert solids.shape == (100, 1, 24, 24, 24) and labels.bincount().tolist() == [20] * 5
    assert solids.amin() == 0 and solids.amax() == 255
    middle = solids[:, 0, 11:13, 11:13, 11:13].float().mean((1, 2, 3))
    named = {name: solids[labels == i] for i, name in enumerate(data.class_names)}
    assert (middle[labels == data.class_names.index("ring")] == 0).all(), "a ring has a hole"
    assert (middle[labels != data.class_names.index("ring")] > 100).all()
    for axes in ((2,), (3,), (4,)):
        assert torch.equal(named["ball"], named["ball"].flip(axes)), "a ball is the same from all sides"
    low = named["cone"].float().sum((1, 2, 4)).cumsum(1)
    assert (low[:, 11] < 0.4 * low[:, -1]).all(), "most of a cone is below, where rows are high"
    assert not torch.equal(named["box"][0], named["box"][1])


def own(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_an_array_of_clips_is_taken_as_it_is_in_colours_or_grey(tmp_path):
    pixels = noise(5, 6, 16, 16, 3)
    np.save(tmp_path / "mine.npy", pixels)
    source = Volumes(str(tmp_path / "mine.npy"), "clips")
    assert source.facts == {"modality": "clips", "num_classes": 0, "image_size": 16, "channels": 3, "frames": 6}
    data = cache.load(source, tmp_path / "cache")
    assert np.array_equal(data.columns["images"].numpy(), pixels.transpose(0, 4, 1, 2, 3))
    assert data.modality.name == "clips" and "labels" not in data.columns
    grey = Volumes(own(tmp_path / "grey.npz", images=pixels[..., 0]), "clips", frames=3, image_size=8)
    shown = cache.load(grey, tmp_path / "cache").columns["images"]
    assert shown.shape == (5, 1, 3, 8, 8)
    for place, frame in enumerate((0, 2, 5)):  # the first, the last, and one between
        expected = Image.fromarray(pixels[1, frame, :, :, 0]).resize((8, 8), Image.Resampling.BILINEAR)
        assert np.array_equal(shown[1, 0, place].numpy(), np.asarray(expected))


def test_voxels_may_be_full_or_empty_and_are_resized_in_depth_too(tmp_path):
    solid = np.zeros((4, 8, 8, 8), dtype=bool)
    solid[:, 2:6, 2:6, 2:6] = True
    path = own(tmp_path / "organs.npz", train_images=solid, train_labels=np.array([[1], [0], [1], [0]]))
    keys = {"images_key": "train_images", "labels_key": "train_labels"}  # as in MedMNIST's files
    same = cache.load(Volumes(path, "voxels", **keys), tmp_path / "cache")
    assert np.array_equal(same.columns["images"].numpy(), 255 * solid[:, None].astype(np.uint8))
    assert same.columns["labels"].tolist() == [1, 0, 1, 0] and same.modality.name == "voxels"
    small = cache.load(Volumes(path, "voxels", image_size=4, frames=4, **keys), tmp_path / "cache").columns["images"]
    cube = small[0, 0].float()
    torch.testing.assert_close(cube, cube.movedim(0, 2), rtol=0, atol=1, msg="depth is resized as the sides are")
    assert cube[1:3, 1:3, 1:3].min() > 5 * cube[0].max()


@pytest.mark.parametrize(
    ("images", "settings", "message"),
    [
        (noise(3, 8, 8), {}, r"'images' is uint8 \(3, 8, 8\); clips must be uint8"),
        (noise(3, 4, 8, 8, 2), {}, "C 1 or 3"),
        (noise(3, 4, 8, 8).astype(np.float32), {}, "float32"),
        (noise(3, 0, 8, 8), {}, "holds no clips"),
        (noise(3, 4, 8, 8) % 2, {}, "0 and 1, and 255 is full; save it as bool"),
        (np.repeat([0, 1], 120 * 4 * 8 * 8).astype(np.uint8).reshape(240, 4, 8, 8), {}, "of 0 and 1"),
        (noise(3, 4, 8, 6), {}, "8x6.*data.image_size"),
        (noise(3, 4, 8, 8), {"frames": 5}, "data.frames=5: the clips of .* have 4"),
    ],
)
def test_what_are_no_clips_is_refused_with_what_would_be(images, settings, message, tmp_path):
    with pytest.raises(UserError, match=message):
        Volumes(own(tmp_path / "a.npz", images=images), "clips", **settings)


def test_clips_that_begin_with_a_hundred_black_ones_are_taken(tmp_path):
    pixels = noise(250, 2, 8, 8)
    pixels[:110] = 0
    assert len(Volumes(own(tmp_path / "a.npz", images=pixels), "clips")) == 250
    assert len(Volumes(own(tmp_path / "b.npz", images=0 * pixels), "clips")) == 250, "no ones"


def animation(path, levels, durations):
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [Image.new("L", (10, 8), level) for level in levels]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations)


def test_a_folder_of_animations_is_read_at_equal_times_and_its_sub_folders_are_classes(tmp_path):
    animation(tmp_path / "gifs" / "up" / "a.gif", [0, 100, 200], [100, 200, 100])
    animation(tmp_path / "gifs" / "down" / "b.gif", [200, 50], [100, 100])
    source = ClipFolder(str(tmp_path / "gifs"), image_size=8, frames=4, channels=1)
    data = cache.load(source, tmp_path / "cache")
    assert source.class_names == ["down", "up"] and data.columns["labels"].tolist() == [0, 1]
    assert data.columns["images"][:, 0, :, 4, 4].tolist() == [[200, 200, 50, 50], [0, 100, 100, 200]]
    assert cache.load(ClipFolder(str(tmp_path / "gifs"), 8, 2, 1), tmp_path / "cache").key != data.key


def test_an_animation_that_can_not_be_read_is_named(tmp_path):
    animation(tmp_path / "gifs" / "a.gif", [0, 100], [100, 100])
    (tmp_path / "gifs" / "b.gif").write_bytes(b"GIF89a, but no more")
    with pytest.raises(UserError, match=re.escape("b.gif") + ".*data.on_bad_image=skip".replace(".", r"[\s\S]")):
        cache.load(ClipFolder(str(tmp_path / "gifs"), 8, 2), tmp_path / "cache")
    kept = cache.load(ClipFolder(str(tmp_path / "gifs"), 8, 2, on_bad_image="skip"), tmp_path / "cache")
    assert len(kept) == 1 and kept.skipped == 1
    with pytest.raises(UserError, match="no animation"):
        ClipFolder(str(tmp_path / "cache"))
