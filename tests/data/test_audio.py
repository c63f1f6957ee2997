"""Folders of sound files, as they lie on people's disks, and the embedded sounds."""

import logging
import os
import struct
import sys

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import resample_poly

from sparring.config.errors import UserError
from sparring.data import cache, dataset, synthetic_tones
from sparring.data.audio import Audio
from sparring.data.splits import hold_out

RATE = 8_000


def sine(pitch: float, seconds: float, rate: int = RATE, loudness: float = 0.5) -> np.ndarray:
    return loudness * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)


def pitch_of(sound: torch.Tensor) -> float:
    """Of the loudest part of (1, length), in Hz."""
    spectrum = torch.fft.rfft(sound[0].float() * torch.hann_window(sound.shape[1])).abs()
    return float(spectrum.argmax()) * RATE / sound.shape[1]


def loaded(folder, tmp_path, length: int = 1024, **options) -> dataset.Data:
    return cache.load(Audio(str(folder), RATE, length, **options), tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sounds").mkdir()
    return tmp_path / "sounds"


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_U8"),
        ("a.wav", "PCM_24"),
        ("a.wav", "FLOAT"),
        ("a.wav", "DOUBLE"),
        ("a.FLAC", "PCM_16"),
        ("a.ogg", "VORBIS"),
    ],
)
def test_a_tone_is_read_alike_from_any_format_rate_and_number_of_channels(name, subtype, rate, folder, tmp_path):
    stereo = np.stack([sine(440, 0.5, rate, 0.75), sine(440, 0.5, rate, 0.25)], 1)  # of which the mean is heard
    soundfile.write(folder / name, stereo, rate, subtype, format=name[2:].upper())
    data = loaded(folder, tmp_path)
    sounds = data.columns["images"]
    assert data.modality.name == "sounds" and sounds.dtype == torch.int16 and sounds.shape[1:] == (1, 1024)
    assert len(sounds) == 3  # half a second holds three pieces; the rest is dropped
    assert all(abs(pitch_of(sound) - 440) <= RATE / 1024 for sound in sounds)
    loudest = sounds[1].abs().max() / 2**15
    assert 0.45 < loudest < 0.55


def test_pieces_follow_each_other_and_short_files_are_followed_by_silence(folder, tmp_path):
    steps = np.repeat([0.1, 0.2, 0.3, 0.4], 1024)
    soundfile.write(folder / "long.wav", np.concatenate([steps, np.ones(1000)]), RATE)
    soundfile.write(folder / "short.wav", np.full(100, -0.25), RATE)
    sounds = loaded(folder, tmp_path).columns["images"]
    assert (sounds[:4, 0].float().mean(1) / 2**15).tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=1e-4)
    assert len(sounds) == 5
    assert sounds[4, 0, :100].float().mean() / 2**15 == pytest.approx(-0.25) and not sounds[4, 0, 100:].any()


@pytest.mark.parametrize("rate", [3_000, 11_025, 44_100, 48_000, 96_000])
def test_pieces_joined_are_the_whole_file_resampled(rate, folder, tmp_path):
    wave = sine(200, 0.8, rate) + sine(1370, 0.8, rate, 0.2) + 0.1
    soundfile.write(folder / "a.wav", wave, rate, "FLOAT")
    pieces = loaded(folder, tmp_path).columns["images"].flatten() / 2**15
    assert len(pieces) == 6 * 1024
    whole = resample_poly(wave, RATE, rate, padtype="edge")[: len(pieces)]
    assert abs(pieces.numpy() - whole).max() < 1e-3
    soundfile.write(folder / "a.wav", np.full(rate // 2, 0.5), rate, "FLOAT")
    assert loaded(folder, tmp_path).columns["images"].min() / 2**15 == pytest.approx(0.5, abs=1e-2), (
        "no fall at the ends"
    )


def test_a_file_louder_than_full_scale_is_made_quieter_as_a_whole(folder, tmp_path):
    parts = [sine(300, 0.128, loudness=2.0), sine(300, 0.128, loudness=0.5), [np.nan] * 1024]
    soundfile.write(folder / "a.wav", np.concatenate(parts), RATE, "FLOAT")
    soundfile.write(folder / "b.wav", sine(300, 0.128, loudness=0.5), RATE, "FLOAT")
    sounds = loaded(folder, tmp_path, on_bad_image="skip").columns["images"][:, 0]
    assert (sounds.int().abs().amax(1) / 2**15).tolist() == pytest.approx([1, 0.25, 0.5], abs=1e-3)
    assert (sounds[0] - sounds[1].int() * 4).abs().max() <= 4, (
        "nothing is clipped, and pieces stay to each other as they were"
    )


def test_pieces_of_a_file_are_held_out_together(folder, tmp_path):
    """Also where some, or whole files, can't be read; and a cache that is opened again knows it."""
    for i in range(12):
        wave = np.full(5 * 1024, (i + 1) / 16)
        if i == 3:
            wave[2000] = np.nan
        soundfile.write(folder / f"{i:02}.wav", wave, RATE, "FLOAT")
    (folder / "02.wav").write_bytes(b"")
    for data in (loaded(folder, tmp_path, on_bad_image="skip") for _ in range(2)):
        assert len(data) == 10 * 5 + 4 and data.skipped == 2
        trained, held = (
            {round(float(level) * 16) for level in part["images"][:].float().mean((1, 2)) / 2**15}
            for part in hold_out(data.columns, 20, data.groups)
        )
        assert len(held) == 4 and len(trained) == 7 and not trained & held


def test_normalized_pieces_are_as_loud_as_can_be_but_silence_stays_silent(folder, tmp_path):
    parts = [sine(300, 0.128, loudness=0.01), np.zeros(1024), sine(300, 0.128, loudness=0.9)]
    soundfile.write(folder / "a.wav", np.concatenate(parts), RATE)
    plain, loud = (
        loaded(folder, tmp_path, normalize=n).columns["images"].int().abs().amax((1, 2)) for n in (False, True)
    )
    assert (plain / 2**15).tolist() == pytest.approx([0.01, 0, 0.9], abs=1e-3)
    assert loud.tolist() == pytest.approx([32768, 0, 32768], abs=1)


def test_sub_folders_are_classes_if_no_file_is_outside(folder, tmp_path):
    for name in ("high/a.wav", "high/deeper/b.wav", "low/c.wav", ".hidden/d.wav", "low/.e.wav", "low/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        soundfile.write(folder / name, sine(900 if "high" in name else 200, 0.2), RATE, format="WAV")
    data = loaded(folder, tmp_path)
    assert data.class_names == ["high", "low"] and data.columns["labels"].tolist() == [0, 0, 1]
    assert [pitch_of(sound) > 500 for sound in data.columns["images"]] == [True, True, False]
    assert "labels" not in loaded(folder, tmp_path, labels=False).columns
    soundfile.write(folder / "loose.wav", sine(200, 0.2), RATE)
    assert "labels" not in loaded(folder, tmp_path).columns
    with pytest.raises(UserError, match=r"data.labels=true: .*loose.wav is in none"):
        loaded(folder, tmp_path, labels=True)


def cut_off(path, **how) -> None:
    soundfile.write(path, sine(300, 2), RATE, **how)
    os.truncate(path, path.stat().st_size * 2 // 3)


BAD = {
    "cut off": cut_off,
    "cut off AIFF": lambda path: cut_off(path, format="AIFF"),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no sound at all " * 50),
    "silent header": lambda path: soundfile.write(path, np.zeros(0), RATE),
    "no numbers": lambda path: soundfile.write(path, np.array([0.1, np.nan, 0.2]), RATE, "FLOAT"),
    "endless": lambda path: soundfile.write(path, np.array([0.1, np.inf]), RATE, "FLOAT"),
    "odd rate": lambda path: soundfile.write(path, np.ones(50) / 2, 7),
    "pipe": lambda path: os.mkfifo(path),
    "link to nowhere": lambda path: path.symlink_to("nowhere.wav"),
}


@pytest.mark.parametrize("size", [2**31 - 1, 2**32 - 1])
def test_a_sound_whose_length_was_not_known_when_it_was_begun_is_read(size, folder, tmp_path):
    soundfile.write(folder / "piped.wav", sine(300, 0.2), RATE)
    content = bytearray((folder / "piped.wav").read_bytes())
    for place in (4, content.index(b"data") + 4):
        content[place : place + 4] = struct.pack("<I", size)
    (folder / "piped.wav").write_bytes(content)
    assert abs(pitch_of(loaded(folder, tmp_path).columns["images"][0]) - 300) < 8


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_a_file_that_is_no_sound_is_named_or_left_out(make, folder, tmp_path, caplog):
    soundfile.write(folder / "good.wav", sine(300, 0.2), RATE)
    make(folder / "bad.wav")
    with pytest.raises(UserError, match=r"bad.wav can't be read as a sound \(.+\)\.\n.*data.on_bad_image=skip"):
        loaded(folder, tmp_path)
    with caplog.at_level(logging.WARNING):
        assert len(loaded(folder, tmp_path, on_bad_image="skip")) == 1
    assert "1 unreadable sounds were left out" in caplog.text


def test_own_sounds_without_soundfile_say_how_to_install_it_and_embedded_ones_need_none(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UserError, match=r"data=audio: needs soundfile: pip install 'sparring\[sound\]'"):
        Audio(str(folder))
    assert len(Audio(count=6).drawn()) == 6


def test_a_folder_that_is_not_there_or_holds_no_sound_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="data.path=.*/nothing: no such folder"):
        loaded(folder / "nothing", tmp_path)
    (folder / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"data.path=.*: no sound \(.*\.flac.*\.wav\) in it or below it"):
        loaded(folder, tmp_path)


def test_the_embedded_sounds_are_of_every_kind_equally_often_and_always_the_same():
    data, again = (Audio(length=1024, count=60).drawn() for _ in range(2))
    sounds, labels = data.columns["images"], data.columns["labels"]
    assert data.key == again.key and torch.equal(sounds, again.columns["images"])
    assert data.class_names == list(synthetic_tones.KINDS) and labels.bincount().tolist() == [10] * 6
    assert sounds.abs().amax((1, 2)).min() > 0.2 * 2**15 and sounds.float().mean().abs() < 100


def test_tones_have_the_pitch_that_their_name_says_chirps_glide_and_strings_die_away():
    sounds, labels = synthetic_tones.draw(120, 4096)
    of = {name: sounds[labels == label] for label, name in enumerate(synthetic_tones.KINDS)}
    start, end = slice(1000, 1800), slice(3000, 3800)
    assert max(map(pitch_of, of["low tone"])) < RATE / 23 < RATE / 11 < min(map(pitch_of, of["high tone"]))
    for name, rises in (("rising chirp", True), ("falling chirp", False)):
        for sound in of[name]:
            assert (pitch_of(sound[:, start]) < pitch_of(sound[:, end])) == rises
    for name in ("pluck", "bell"):
        loudness = of[name].float().square()
        assert (loudness[..., end].mean(2) < 0.3 * loudness[..., start].mean(2)).all()
