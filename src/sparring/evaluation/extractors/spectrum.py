"""Features of sounds that nothing has to be learnt for: where and when they are loud."""

import os
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from sparring.data.dataset import Data
from sparring.evaluation.extractors.base import Extractor

BANDS, TIMES = 16, 8


class Spectrum(Extractor):
    """The spectrogram's mean level in 16 bands of frequency, equally wide in Hz, at 8 times, 0 to 1 over 80 dB (see ``sparring.data.modalities.sounds``).

    For sounds without labels. It hears neither phase nor fine pitch; scores in it, ``fd_spectrum``, compare with each other on the same
    data.
    """

    name, dims, classes, takes = "spectrum", BANDS * TIMES, 0, ("sounds",)
    facts = {
        "extractor": "spectrum",
        "weights": "none",
        "resize": f"{BANDS} bands, {TIMES} times",
        "precision": "float32",
    }

    def prepare(self, device: torch.device | str, data: Data | None, cache: str | os.PathLike | Path) -> None:
        self.device = torch.device(device)
        self.see = data.modality.seen

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, None]:
        spectrograms = self.see(images.to(self.device)).float().div_(255)
        return adaptive_avg_pool2d(spectrograms, (BANDS, TIMES)).flatten(1), None
