"""Sounds from end to end: heard, seen, recorded; a short training whose samples turn."""

import json
import math

import pytest
import soundfile
import torch

from sparring.config.errors import UserError
from sparring.config.validation import check
from sparring.data import cache
from sparring.data.audio import Audio
from sparring.data.modalities.lookup import facts, modality_of
from sparring.data.modalities.sounds import Sounds
from sparring.evaluation.extractors.spectrum import Spectrum
from sparring.runs.wandb_run import WandbRun
from sparring.training import build

RATE = 8_000


def sine(pitch: float, length: int = 4096, loudness: float = 1.0) -> torch.Tensor:
    """int16 (1, 1, length)."""
    wave = loudness * (2 * math.pi * pitch / RATE * torch.arange(length)).sin()
    return (wave * 32767).round().to(torch.int16)[None, None]


def test_what_networks_see_is_stored_as_it_was_and_too_loud_sounds_are_clipped():
    sounds = Sounds(RATE)
    stored = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(16, 1, -1)
    seen = sounds.scaled(stored)
    assert seen.min() == -1 and seen.max() < 1 and torch.equal(sounds.stored(seen), stored)
    assert sounds.stored(torch.tensor([-2.0, 2.0])).tolist() == [-(2**15), 2**15 - 1]


@pytest.mark.parametrize(("length", "side"), [(1024, 32), (4096, 64), (16_384, 128)])
def test_a_spectrogram_is_square_and_shows_a_pitch_at_its_height_low_at_the_bottom(length, side):
    for pitch in (500, 1000, 3000):
        image = Sounds(RATE).seen(sine(pitch, length))[0, 0]
        assert image.shape == (side, side) and image.max() == 255
        rows = image.float().argmax(0)[1:-1]
        height = side - (rows + 1)  # bands above the lowest
        assert ((height + 1) * RATE / 2 / side - pitch).abs().max() <= RATE / 2 / side


@pytest.mark.parametrize(("length", "side"), [(256, 64), (1024, 64), (4096, 64), (16_384, 128)])
def test_stills_are_large_enough_to_be_read(length, side):
    stills = Sounds(RATE).stills(sine(1000, length))
    assert stills.shape == (1, 3, side, side) and stills.dtype == torch.uint8


def test_brightness_is_loudness_in_decibels():
    middle = [Sounds(RATE).seen(sine(1000, loudness=10 ** (-db / 20)))[0, 0, :, 32].max() for db in (0, 20, 40, 100)]
    assert [int(level) for level in middle] == pytest.approx([255, 191, 128, 0], abs=2)


def test_many_sounds_are_seen_as_each_by_itself():
    some = torch.randint(-(2**15), 2**15, (600, 1, 16_384), dtype=torch.int16)
    together = Sounds(RATE).seen(some)
    assert together.shape == (600, 1, 128, 128)
    assert torch.equal(together[-1:], Sounds(RATE).seen(some[-1:]))


def test_a_file_plays_what_was_stored_and_many_come_one_after_the_other(tmp_path):
    sounds, some = Sounds(RATE), torch.cat([sine(100.0 * i, 1024) for i in range(1, 21)])
    sounds.save(some[3], tmp_path / "one.wav")
    heard, rate = soundfile.read(tmp_path / "one.wav", dtype="int16")
    assert rate == RATE and heard.tolist() == some[3, 0].tolist()
    sounds.write_combined(some, tmp_path / "many.wav")
    heard, _ = soundfile.read(tmp_path / "many.wav", dtype="int16")
    parts = torch.from_numpy(heard).view(16, 1024 + RATE // 4)
    assert torch.equal(parts[:, :1024], some[:16, 0]) and not parts[:, 1024:].any()
    assert len(list(sounds.write(some, tmp_path / "all").glob("*.wav"))) == 20


def test_a_stored_configuration_says_all_that_is_needed_to_hear_a_run():
    known = facts(Audio(sample_rate=11_025).facts | {"path": "gone"})
    assert known == {"modality": "sounds", "sample_rate": 11_025}
    assert modality_of(json.loads(json.dumps(known))).sample_rate == 11_025


def test_the_spectrum_tells_sounds_apart_by_pitch_and_by_when_they_are_loud():
    data = Audio(length=1024, count=60).drawn()
    spectrum = Spectrum()
    spectrum.prepare("cpu", data, "")
    found = spectrum(data.columns["images"])[0]
    assert found.shape == (60, spectrum.dims) and found.min() >= 0 and found.max() <= 1
    distances, labels = torch.cdist(found, found).fill_diagonal_(9), data.columns["labels"]
    assert (labels[distances.argmin(1)] == labels).float().mean() > 0.8


QUICK = [
    "data=audio",
    "data.length=256",
    "data.sample_rate=8000",
    "data.count=300",
    "data.held_out=100",
    "data.classifier_accuracy=0",
    "debug=quick",
]


def test_a_short_training_is_scored_beside_held_out_sounds_and_its_samples_play(run, tmp_path):
    said = run(*QUICK, "trainer.max_steps=4", "evaluation.samples=100", "hydra.run.dir=r", cwd=tmp_path).stdout
    assert "training" in said and "fd_classifier" in said and "compared with 100 of 100 reals (held out" in said
    folder = tmp_path / "r" / "samples"
    for path in folder.glob("*.png"):
        assert soundfile.info(path.with_suffix(".wav")).samplerate == RATE
    assert len(list(folder.glob("*.wav"))) >= 2
    run("task=sample", "run=r", "sample.count=8", "sample.frames=3", "sample.folder=s", cwd=tmp_path)
    made = {path.relative_to(tmp_path / "s").as_posix() for path in (tmp_path / "s").rglob("*.*")}
    assert {"grid.png", "grid.wav", "interpolation.gif", "sounds/00000.wav", "sounds/00007.wav"} <= made
    assert soundfile.info(tmp_path / "s" / "sounds" / "00007.wav").frames == 256


def test_weights_and_biases_is_given_the_sound_itself(tmp_path):
    logger = WandbRun(tmp_path, {})
    logger.start()
    Sounds(RATE).write_combined(sine(440), tmp_path / "heard.wav")
    logger.log_file("sounds", tmp_path / "heard.wav", step=1, kimg=0.5)
    logger.finish()
    (media,) = (tmp_path / "wandb").glob("offline-run-*/files/media/audio/*.wav")
    assert media.read_bytes() == (tmp_path / "heard.wav").read_bytes()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=dcgan"], "sounds: model=wavegan"),
        (["model=mlp"], r"makes \(1, 1, 1\), and the data are \(1, 256\): .*wavegan for data=audio"),
        (["data.length=300"], r"length=300: .*of 16 \* 4\*\*n samples"),
        (["data.flip=true"], "data.flip=true: .*these data are sounds"),
        (["augment=diffaugment"], "augment: only images"),
        (["evaluation=inception"], "inception: takes images, and these data are sounds: choose evaluation=fast"),
        (["data.path={unlabelled}"], "have none: choose evaluation=spectrum"),
    ],
)
def test_options_for_images_are_refused_for_sounds(overrides, message, composed, tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(440)[0, 0].numpy(), RATE)
    with pytest.raises(UserError, match=message):
        prepared(composed(*QUICK, *[text.format(unlabelled=tmp_path) for text in overrides]), tmp_path)


def test_sounds_without_labels_are_scored_by_their_spectrum_but_none_are_held_out_of_one_file(composed, tmp_path):
    cfg = composed(*QUICK, f"data.path={tmp_path}", "data.held_out=4", "evaluation=spectrum")
    soundfile.write(tmp_path / "a.wav", sine(440)[0, 0].numpy(), RATE)
    with pytest.raises(UserError, match="data.held_out: .*16 examples.*data.held_out=0"):
        prepared(cfg, tmp_path)
    soundfile.write(tmp_path / "b.wav", sine(880)[0, 0].numpy(), RATE)
    prepared(cfg, tmp_path)


def prepared(cfg, cache_folder) -> None:
    """All that is looked at before training."""
    check(cfg)
    source = build.open_source(cfg)
    game = build.build_game(cfg)
    build.build_module(cfg, game, cache.load(source, cache_folder / "cache"))


def test_a_network_of_sounds_names_the_data_that_it_is_for(composed, tmp_path):
    with pytest.raises(UserError, match="model.*length=1: .*data=audio"):
        prepared(composed("model=wavegan"), tmp_path)
