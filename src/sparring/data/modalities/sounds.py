"""Sounds: heard as waves, seen as spectrograms."""

import math
import wave
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparring.data.image_grids import enlarged
from sparring.data.modalities.base import Modality
from sparring.storage.files import atomic_write

FULL = 2**15  # of 16 bits
RANGE = 80.0  # dB below a sine of full scale, at which a spectrogram is black
PLAYED, PAUSE = 16, 0.25  # sounds in a combined file, and seconds between them


class Sounds(Modality):
    """int16 (1, length), ``sample_rate`` of them a second; networks see [-1, 1).

    A spectrogram has Hann windows of about 2 sqrt(length) samples, half overlapping: 64 x 64 for 4,096 samples, and
    128 x 128 for 16,384 as in SpecGAN (Donahue et al. 2019, section 3.2). Time goes to the right and frequency upwards,
    linearly; white is the amplitude of a full sine, black 80 dB below it.

    Args:
        sample_rate: in Hz.
    """

    name, ending, has_combined_file = "sounds", ".wav", True

    def __init__(self, sample_rate: int):
        self.sample_rate = sample_rate

    def scaled(self, stored: Tensor) -> Tensor:
        return stored.to(torch.get_default_dtype()).div_(FULL)

    def stored(self, produced: Tensor) -> Tensor:
        return produced.float().mul(FULL).round_().clamp_(-FULL, FULL - 1).to(torch.int16)

    def seen(self, examples: Tensor) -> Tensor:
        at_once = max(2**23 // examples.shape[-1], 1)  # transforming all would take ten times their memory
        return torch.cat([_spectrogram(part) for part in examples.split(at_once)])

    def stills(self, examples: Tensor) -> Tensor:
        """Return spectrograms in colour; small ones are enlarged."""
        return enlarged(_magma().to(examples.device)[self.seen(examples)[:, 0].long()].permute(0, 3, 1, 2))

    def save(self, example: Tensor, path: Path) -> None:
        with atomic_write(path) as temporary, wave.open(str(temporary), "wb") as file:
            file.setparams((1, 2, self.sample_rate, 0, "NONE", "not compressed"))
            file.writeframes(example[0].cpu().numpy().tobytes())

    def write_combined(self, examples: Tensor, path: Path) -> None:
        """Write the first 16, one after the other."""
        pause = examples.new_zeros(1, round(PAUSE * self.sample_rate))
        self.save(torch.cat([part for sound in examples[:PLAYED] for part in (sound, pause)], dim=1), path)


def _spectrogram(sounds: Tensor) -> Tensor:
    """Convert sounds int16 (batch, 1, length) to uint8 (batch, 1, bands, length / bands), bands about sqrt(length)."""
    bands = 2 ** round(math.log2(sounds.shape[-1]) / 2)
    waves, window = sounds[:, 0].float().div_(FULL), torch.hann_window(2 * bands, device=sounds.device)
    waves = pad(waves, (bands // 2, 2 * bands))  # the middle of the first window is half a step after the start
    spectra = torch.stft(waves, 2 * bands, bands, window=window, center=False, return_complex=True)
    amplitudes = spectra.abs() / (bands / 2)
    amplitudes = amplitudes[:, 1:, : sounds.shape[-1] // bands].flip(1)  # without the constant; low at the bottom
    levels = 1 + 20 * amplitudes.clamp_(min=1e-9).log10_() / RANGE
    return levels.mul_(255).round_().clamp_(0, 255).to(torch.uint8)[:, None]


@cache
def _magma() -> Tensor:
    """Return colours (256, 3) uint8 that look as even as the values that they stand for."""
    from matplotlib import colormaps

    return torch.from_numpy((colormaps["magma"](range(256))[:, :3] * 255).round()).to(torch.uint8)
