"""Translations of held-out examples and of given image files, and the commands that make them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conftest import noise_images
from sparring.config.errors import UserError
from sparring.data.degradations.masks import Mask
from sparring.data.degradations.mixed import Mixed
from sparring.data.degradations.quality import Downscale, Noise
from sparring.evaluation.generated_sets import Translated
from sparring.evaluation.sampler import BLOCK
from sparring.sampling.translate_files import translate_files
from translators import Negative, a_sampler


class WithNorm(Negative):
    """... after a batch norm, whose statistics have to come from somewhere."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, condition):
        return super().forward(self.norm(condition))


# ---- held-out examples --------------------------------------------------------------------------------------------

HELD_OUT = {"images": noise_images(150, 255, size=6)}  # torch would draw other numbers for fewer
DAMAGES = {"strokes": lambda: Mask("strokes"), "noise": lambda: Noise((5, 50)), "downscale": lambda: Downscale(2)}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_example_is_damaged_alike_in_every_slice(damage):
    sampler = a_sampler(degradation=DAMAGES[damage](), examples=HELD_OUT)
    whole = sampler.inputs(range(150))
    assert len(whole) == 150
    for start, stop in ((0, 1), (0, BLOCK), (BLOCK - 1, BLOCK + 1), (70, 150), (149, 150)):
        assert torch.equal(sampler.inputs(range(start, stop)), whole[start:stop]), (start, stop)
    again = a_sampler(degradation=DAMAGES[damage](), examples=HELD_OUT, batch_size=7)
    assert torch.equal(again.inputs(range(150)), whole)
    fewer = a_sampler(degradation=DAMAGES[damage](), examples={"images": HELD_OUT["images"][:70]})
    assert torch.equal(fewer.inputs(range(70)), whole[:70]), "nor does it matter how many there are"
    if damage != "downscale":
        other = a_sampler(degradation=DAMAGES[damage](), examples=HELD_OUT, seed=1)
        assert not torch.equal(other.inputs(range(150)), whole)


def test_answers_have_their_targets_and_baselines():
    examples = {"images": noise_images(70, 255), "inputs": noise_images(70, 255, seed=1)}
    for batch_size in (100, 7):
        answers = Translated(a_sampler(examples=examples, batch_size=batch_size), 68)
        rows = range(60, 68)
        assert len(answers) == 68 and answers.image_size == (8, 8)
        made = answers.images(rows).int()
        assert (made + examples["inputs"][60:68] - 255).abs().max() <= 1  # rounded
        assert torch.equal(answers.targets(rows), examples["images"][60:68])
        (baseline,) = answers.baselines
        assert baseline.name == "input" and torch.equal(baseline.images(rows), examples["inputs"][60:68])
        assert torch.equal(baseline.targets(rows), examples["images"][60:68])
    assert len(Translated(a_sampler(examples=examples), 1000)) == 70


def test_batch_norm_uses_the_statistics_of_training():
    network = WithNorm()
    sampler = a_sampler(network, examples={"images": noise_images(70, 255), "inputs": noise_images(70, 100)})
    assert sampler.batch_norm == "running"
    assert torch.equal(sampler.producer.norm.running_mean, network.norm.running_mean)


# ---- given image files ----------------------------------------------------------------------------------------


def pixels(height: int, width: int, *more: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, *more), dtype=np.uint8)


def opened(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def test_images_of_any_size_keep_their_size(tmp_path):
    sizes = {"tall": (31, 7), "wide": (5, 40), "one": (1, 1)}
    for name, size in sizes.items():
        Image.fromarray(pixels(*size, 3)).save(tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert translate_files(a_sampler(Negative(3)), tmp_path, 3, tmp_path / "out") == 3
    for name, size in sizes.items():
        made = opened(tmp_path / "out" / "images" / f"{name}.png")
        assert made.shape == (*size, 3) and abs(made + pixels(*size, 3) - 255).max() <= 1
        with Image.open(tmp_path / "out" / "compared" / f"{name}.png") as beside:
            assert beside.size == (2 * size[1] + 6, size[0] + 4)  # two, and lines of two pixels around them
    compared = opened(tmp_path / "out" / "compared" / "tall.png")
    assert (compared[2:33, 2:9] == pixels(31, 7, 3)).all(), "the left one is what was given"


def test_a_single_file_is_translated_in_the_models_colours(tmp_path):
    Image.fromarray(pixels(6, 9, 3)).save(tmp_path / "photo.of.me.webp", lossless=True)
    assert translate_files(a_sampler(), tmp_path / "photo.of.me.webp", 1, tmp_path / "out") == 1
    made = opened(tmp_path / "out" / "images" / "photo.of.me.png")
    grey = opened(tmp_path / "photo.of.me.webp") @ [0.299, 0.587, 0.114]
    assert made.shape == (6, 9) and abs(made + grey - 255).max() <= 1.5
    Image.fromarray(pixels(6, 9)).save(tmp_path / "grey.png")  # three channels in, one out
    translate_files(a_sampler(Negative(1)), tmp_path / "grey.png", 3, tmp_path / "out")
    assert opened(tmp_path / "out" / "images" / "grey.png").shape == (6, 9)


def test_superresolution_doubles_the_size_and_is_compared_with_the_bicubic_filter(tmp_path):
    Image.fromarray(pixels(5, 11)).save(tmp_path / "small.png")
    translate_files(a_sampler(Negative(scale=2), Downscale(2)), tmp_path / "small.png", 1, tmp_path / "out")
    assert opened(tmp_path / "out" / "images" / "small.png").shape == (10, 22)
    compared = opened(tmp_path / "out" / "compared" / "small.png")[2:12, 2:24, 0]
    exact = Image.fromarray(pixels(5, 11).astype(np.float32))  # in 8 bits Pillow clips between the two axes
    expected = np.asarray(exact.resize((22, 10), Image.Resampling.BICUBIC)).clip(0, 255)
    assert abs(compared - expected).max() <= 1


def with_holes(path) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose left part is transparent (with something under it), and which pixels are."""
    colours, holes = pixels(6, 8, 4), np.zeros((6, 8), dtype=bool)
    holes[:, :3] = True
    colours[..., 3] = np.where(holes, 0, 255)
    Image.fromarray(colours, "RGBA").save(path)
    return colours[..., :3].astype(int), holes


def test_an_inpainting_model_fills_in_transparent_pixels(tmp_path):
    colours, holes = with_holes(tmp_path / "holes.png")
    translate_files(a_sampler(Negative(3), Mask(fill=0.5)), tmp_path / "holes.png", 3, tmp_path / "out")
    made = opened(tmp_path / "out" / "images" / "holes.png")
    assert abs(made[~holes] - colours[~holes]).max() <= 1, "what is known stays"
    assert (abs(made[holes] - 127.5 * 0.5) <= 1).all(), "the negative of the fill, not of what lay under it"
    Image.fromarray(colours.astype(np.uint8)).save(tmp_path / "whole.png")
    with pytest.raises(UserError, match="whole.png: nothing is transparent"):
        translate_files(a_sampler(Negative(3), Mask(fill=0.5)), tmp_path, 3, tmp_path / "both")
    assert (tmp_path / "both" / "images" / "holes.png").exists(), "the others are translated all the same"
    some = Mixed({"mask": Mask(), "noise": Noise()})
    translate_files(a_sampler(Negative(3), some), tmp_path / "whole.png", 3, tmp_path / "out")
    assert abs(opened(tmp_path / "out" / "images" / "whole.png") + colours - 255).max() <= 1


@pytest.mark.parametrize("degradation", [None, Noise()])
def test_to_other_models_transparent_pixels_are_white(tmp_path, degradation):
    colours, holes = with_holes(tmp_path / "holes.png")
    translate_files(a_sampler(Negative(3), degradation), tmp_path / "holes.png", 3, tmp_path / "out")
    made = opened(tmp_path / "out" / "images" / "holes.png")
    assert made[holes].max() <= 1 and abs(made[~holes] + colours[~holes] - 255).max() <= 1


def test_outputs_have_different_names(tmp_path):
    (given := tmp_path / "in" / "sub").mkdir(parents=True)
    for level, name in enumerate(("a.png", "b.bmp", "sub-a.png", "sub/a.png")):
        Image.fromarray(np.full((4, 4), 50 * level, dtype=np.uint8)).save(given.parent / name)
    assert translate_files(a_sampler(), given.parent, 1, tmp_path / "out") == 4
    for level, name in enumerate(("a.png", "b.png", "sub-a.png", "sub/a.png")):
        for kind in ("images", "compared"):
            assert (tmp_path / "out" / kind / name).is_file()
        assert abs(opened(tmp_path / "out" / "images" / name) - (255 - 50 * level)).max() <= 1
    Image.fromarray(np.full((4, 4), 200, dtype=np.uint8)).save(given.parent / "a.bmp")
    Image.fromarray(np.full((4, 4), 210, dtype=np.uint8)).save(given.parent / "a.bmp.png")
    assert translate_files(a_sampler(), given.parent, 1, tmp_path / "more") == 6
    assert len(list((tmp_path / "more" / "images").rglob("*.png"))) == 6
    for name, level in (("a.png.png", 0), ("a.bmp.png", 200), ("a.bmp.png.png", 210)):
        assert abs(opened(tmp_path / "more" / "images" / name) - (255 - level)).max() <= 1


def test_files_that_cannot_be_translated_are_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: there is no such file"):
        translate_files(a_sampler(), tmp_path / "nowhere", 1, tmp_path / "out")
    with pytest.raises(UserError, match=r"no image \(.*\.png"):
        translate_files(a_sampler(), tmp_path, 1, tmp_path / "out")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    with pytest.raises(UserError, match=r"torn.png can't be read as an image"):
        translate_files(a_sampler(), tmp_path, 1, tmp_path / "out")


# ---- the real commands --------------------------------------------------------------------------------------------


def scores_of(folder) -> list[dict]:
    return json.loads((folder / "scores.json").read_text())


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    """pix2pix, for a moment, on pairs that are each other's negatives."""
    folder = tmp_path_factory.mktemp("translating")
    for name, count, seed in (("pairs", 90, 0), ("others", 60, 1)):
        inputs = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
        np.savez(folder / f"{name}.npz", a=inputs, b=255 - inputs)
    options = ["data=pairs", "data.path=pairs.npz", "data.batch_size=4", "data.held_out=55", "trainer.max_steps=3"]
    small = ["model.width=4", "model.discriminator.layers=1", "evaluation/metrics=[reconstruction]", "grid.count=12"]
    run(*options, *small, "logger=none", "trainer.accelerator=cpu", "hydra.run.dir=one", cwd=folder)
    return folder


def test_a_run_translates_a_folder_of_photos(trained, run, tmp_path):
    (given := tmp_path / "photos").mkdir()
    sizes = {"a": (19, 33), "b": (16, 16), "c": (40, 9)}
    for name, size in sizes.items():
        Image.fromarray(pixels(*size, 3)).save(given / f"{name}.png")
    done = run("task=sample", "run=one", f"input={given}", f"sample.folder={tmp_path / 'out'}", cwd=trained)
    assert "3 images" in done.stdout
    for name, size in sizes.items():
        assert opened(tmp_path / "out" / "images" / f"{name}.png").shape == (*size, 3)


def test_a_run_is_scored_again_on_its_held_out_pairs_or_on_others(trained, run):
    end = scores_of(trained / "one")[-1]
    assert end["iteration"] == 3 and end["protocol"]["samples"] == 55
    assert set(end["baselines"]) == {"input"} and end["scores"].keys() == end["baselines"]["input"].keys() >= {"psnr"}
    run("task=evaluate", "run=one", cwd=trained)
    again = scores_of(trained / "one")[-1]
    assert again["protocol"]["checkpoint"] == "last.ckpt"
    assert (again["scores"], again["baselines"]) == (end["scores"], end["baselines"])
    run("task=evaluate", "run=one", "data.path=others.npz", cwd=trained)
    others = scores_of(trained / "one")[-1]
    assert others["protocol"]["samples"] == 60 and others["scores"]["psnr"] != end["scores"]["psnr"]
    # of x and its negative, uniform in 0 ... 255: the mean square is about 255^2 / 3
    assert others["baselines"]["input"]["psnr"] == pytest.approx(10 * np.log10(3), abs=0.1)
    refused = run("task=evaluate", "run=one", "data.held_out=56", cwd=trained, check=False)
    assert refused.returncode == 1 and "data.held_out=56: the run was trained on all but 55" in refused.stderr
