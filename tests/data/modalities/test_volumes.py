"""Clips and voxels from a configuration to a GIF: how they are stored, shown, scored, and with what they can't go."""

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import fit
from sparring.config.errors import UserError
from sparring.config.validation import check
from sparring.data.dataset import Data
from sparring.data.modalities import lookup, volumes
from sparring.data.modalities.volumes import Clips, Voxels
from sparring.evaluation.extractors.classifier import Classifier
from sparring.training import build


def bars(count: int, size: int = 16, frames: int = 8) -> torch.Tensor:
    """Clips (count, 1, frames, size, size) of a bar that goes to the right, or to the left where the number is odd."""
    clips = torch.zeros(count, 1, frames, size, size, dtype=torch.uint8)
    starts = torch.randint(0, size - frames, (count,), generator=torch.Generator().manual_seed(0))
    for t in range(frames):
        place = torch.where(torch.arange(count) % 2 == 0, t, frames - 1 - t) + starts
        clips[torch.arange(count), 0, t, :, place] = 255
    return clips


def read(path) -> np.ndarray:
    """The frames of a GIF, (frames, H, W)."""
    with Image.open(path) as animation:
        frames = range(animation.n_frames)
        return np.stack([np.asarray(animation.convert("L")) for i in frames if animation.seek(i) is None])


@pytest.mark.parametrize("kind", [Clips(), Voxels()])
def test_what_networks_see_is_what_was_stored(kind):
    stored = torch.arange(256, dtype=torch.uint8).view(2, 1, 2, 8, 8)
    seen = kind.scaled(stored)
    assert seen.min() == -1 and seen.max() == 1 and torch.equal(kind.stored(seen), stored)
    assert kind.seen(stored).shape == (2, 2, 8, 8), "frames as channels"
    assert lookup.modality_of({"modality": kind.name, "image_size": 8}).name == kind.name


def test_a_clip_is_saved_with_each_of_its_frames(tmp_path):
    clips = bars(2)
    folder = Clips().write(clips, tmp_path)
    assert np.array_equal(read(folder / "00000.gif"), clips[0, 0].numpy())
    assert np.array_equal(read(folder / "00001.gif"), clips[1, 0].numpy())


def test_many_clips_are_played_side_by_side_each_pixel_as_large_as_it_needs(tmp_path):
    clips = bars(30)
    Clips().write_combined(clips, tmp_path / "all.gif")
    shown = read(tmp_path / "all.gif")
    assert shown.shape == (8, 5 * 66 + 2, 5 * 66 + 2), "the first 25, of 64 pixels and a line"
    third = shown[:, 68:132, 68:132][:, ::4, ::4]  # the second of the second row, which is the seventh
    assert np.array_equal(third, clips[6, 0].numpy())


def test_a_still_of_a_clip_is_a_strip_of_four_frames_from_the_first_to_the_last():
    strip = Clips().stills(bars(3))
    assert strip.shape == (3, 1, 64, 4 * 65 - 1), "small frames are enlarged"
    assert (strip[..., 64] == 128).all()
    assert torch.equal(strip[..., ::4, :64:4], bars(3)[:, :, 0]) and torch.equal(
        strip[..., ::4, -64::4], bars(3)[:, :, -1]
    )
    assert Clips().stills(bars(1)[:, :, :1]).shape == (1, 1, 64, 64)
    assert Clips().stills(bars(1, size=80)).shape == (1, 1, 80, 4 * 81 - 1), "large ones stay"
    assert Clips().picture(bars(4), 2).shape == (3, 2 * 66 + 2, 2 * 261 + 2)


def rod(size: int = 24) -> torch.Tensor:
    """A solid (1, 1, size, size, size), long from left to right, thin in height and depth."""
    solid = torch.zeros(1, 1, size, size, size, dtype=torch.uint8)
    solid[..., 10:14, 10:14, 2:22] = 255
    return solid


def width(view: np.ndarray) -> int:
    return int((view > 40).any(0).sum())


def test_a_solid_is_turned_about_its_vertical_axis(tmp_path):
    Voxels().save(rod()[0], tmp_path / "rod.gif")
    views = read(tmp_path / "rod.gif")
    assert views.shape == (24, 24, 24)
    widths = [width(view) for view in views]
    assert widths[0] > 2.5 * widths[6] and abs(widths[0] - widths[12]) <= 1, "from its side, its end, its other side"
    assert Voxels().stills(rod()).shape == (1, 1, 72, 72), "small ones are enlarged"


def test_a_solid_is_seen_from_above_with_what_is_near_before_what_is_far():
    cube = torch.zeros(1, 3, 24, 24, 24, dtype=torch.uint8)
    cube[0, 0, 4:20, 4:6, 4:20] = cube[0, 1, 4:20, 18:20, 4:20] = cube[0, 2, 4:20, 6:18, 4:20] = 255
    red, green, blue = volumes.lit(cube, 0.0)[0].gt(60).sum((1, 2)).tolist()
    assert blue > red > 1.5 * green > 0, "its top is red; of what is green below only the edge is seen"
    coloured = torch.zeros(1, 3, 16, 16, 16, dtype=torch.uint8)
    coloured[0, 0, 2:7, 4:12, 4:12], coloured[0, 1, 9:14, 4:12, 4:12] = 255, 255
    front = volumes.lit(coloured, 0.0, 0.0)[0, :, 8, 8]
    behind = volumes.lit(coloured, np.pi, 0.0)[0, :, 8, 8]
    assert front[0] > 50 > front[1] and behind[1] > 50 > behind[0], "red in front, green behind"


def test_the_classifier_behind_scores_tells_motions_apart_that_no_frame_shows(tmp_path):
    clips, labels = bars(600), torch.arange(600) % 2
    data = Data({"images": clips, "labels": labels}, "bars", ["right", "left"], modality=Clips())
    judge = Classifier(min_accuracy=0.95)
    judge.prepare("cpu", data, tmp_path)
    assert judge(clips[:100])[1].argmax(1).eq(labels[:100]).float().mean() > 0.95
    for three in (bars(4, frames=3), bars(4, frames=1)):  # as many channels as an image in colours, or in grey, has
        seen = Clips().seen(three)
        assert seen.shape[1] == three.shape[2]


def test_a_few_clips_are_enough_to_learn_what_tells_them_apart(tmp_path, caplog):
    """As few as a folder of one's own may hold: a judge at chance would take noise for them."""
    noise = torch.randint(0, 200, (120, 1, 8, 16, 16), generator=torch.Generator().manual_seed(1))
    clips = torch.maximum(noise.byte(), bars(120) // 255 * 220)
    data = Data({"images": clips, "labels": torch.arange(120) % 2}, "few", ["right", "left"], modality=Clips())
    judge = Classifier()
    judge.prepare("cpu", data, tmp_path)
    assert judge.accuracy > 0.9 and not [r for r in caplog.records if r.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("clips", r"choose evaluation=none \(or give them labels: sub-folders of data.path"),
        ("voxels", r"choose evaluation=none \(or give them labels: an array"),
    ],
)
def test_without_labels_the_advice_is_of_clips_and_voxels_and_leads_on(kind, advice, composed, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "own.npy", array)
    mine = ("data=volumes", f"data.path={tmp_path / 'own.npy'}", f"data.kind={kind}")
    with pytest.raises(UserError, match=f"have none: {advice}"):
        build.open_source(composed(*mine, "evaluation=fast"))
    with pytest.raises(UserError, match="choose evaluation=fast where they have labels"):
        build.open_source(composed(*mine, "evaluation=inception"))
    build.open_source(composed(*mine, "evaluation=none"))
    stored = Data({"images": torch.from_numpy(array)[:, None]}, "own", [], modality=lookup.KINDS[kind]())
    with pytest.raises(UserError, match=f"classifier scores {kind} .* have none: {advice}"):
        Classifier().prepare("cpu", stored, tmp_path)


@pytest.mark.parametrize("data", ["moving_digits", "clips", "volumes"])
@pytest.mark.parametrize("frames", [0, -3])
def test_a_clip_has_a_frame_at_least(data, frames, composed):
    own = {"clips": ["data.path=x"], "volumes": ["data.path=x", "data.kind=clips"]}.get(data, [])
    with pytest.raises(UserError, match=f"data.frames={frames}: must be at least 1"):
        check(composed(f"data={data}", f"data.frames={frames}", *own))


SIZES = ("data.frames=16", "data.image_size=32")


def built(composed, *overrides):
    cfg = composed("data=moving_digits", "model.width=4", "data.batch_size=4", "data.held_out=2", *SIZES, *overrides)
    check(cfg)
    build.open_source(cfg)
    columns = {"images": torch.randint(0, 256, (12, 1, 16, 32, 32), dtype=torch.uint8), "labels": torch.arange(12)}
    if "data=mnist_mini" in overrides:
        columns["images"] = columns["images"][:, :, 0, :28, :28]
    return build.build_module(cfg, build.build_game(cfg), Data(columns, "key", []))


@pytest.mark.parametrize(
    "overrides",
    [
        ["regularizer=[gradient_penalty,r1,lecam,mode_seeking,feature_matching]", "data.flip=true"],
        ["model.conditional=false", "model.packing=2", "model.spectral_norm=true", "model.discriminator.norm=layer"],
        ["model=acgan", "model/generator=volumegan", "model/discriminator=volumegan"],
        ["accumulate=2", "loss=relativistic", "regularizer=[r1_r2]", "trainer.precision=bf16-mixed"],
    ],
)
def test_clips_are_trained_on_with_penalties_packs_heads_and_halves_of_batches(overrides, composed):
    module = built(composed, *overrides)
    fit(module, 2, precision="bf16-mixed" if "trainer.precision=bf16-mixed" in overrides else "32-true")
    module.check_finite()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=dcgan"], r"makes \(1, 32, 32\), and the data are \(1, 16, 32, 32\): .*volumegan for clips"),
        (
            ["data=mnist_mini", "data.frames=null", "model=volumegan", "data.image_size=28"],
            "frames=null: these networks make clips and voxels",
        ),
        (["data.rotation=10"], "data.rotation=10.0: only for images; these data are clips"),
        (["data.jitter=0.1"], "data.jitter=0.1: only for images; these data are clips"),
        (["augment=diffaugment"], "augment: only images"),
        (["regularizer=[consistency]"], "regularizer.consistency: only images"),
        (["data.image_size=36"], "image_size=36: .*nearest: 32 or 40"),
        (["data.frames=36"], "frames=36: .*nearest: 32 or 40"),
    ],
)
def test_what_does_not_go_with_clips_is_refused_before_training(overrides, message, composed):
    with pytest.raises(UserError, match=message):
        built(composed, *overrides)
