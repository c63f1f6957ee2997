"""Features of sounds without a network: loudness by frequency and time."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from sparring.data.dataset import Data
from sparring.evaluation.extractors.base import Extractor

BANDS, TIMES = 16, 8


class Spectrum(Extractor):
    """The spectrogram's mean level in 16 bands of frequency, equally wide in Hz, at 8 times: 0 to 1 over 80 dB.

    For sounds without labels; the spectrogram is that of ``sparring.data.modalities.sounds``. It has neither phase nor
    fine pitch, and its scores are comparable on the same data only.
    """

    name, dims, classes, modalities = "spectrum", BANDS * TIMES, 0, ("sounds",)
    facts = {"extractor": name, "weights": "none", "resize": f"{BANDS} bands, {TIMES} times", "precision": "float32"}

    def prepare(self, device: torch.device, data: Data, cache: Path) -> None:
        self.device, self.spectrograms = torch.device(device), data.modality.seen

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, None]:
        levels = self.spectrograms(images.to(self.device)).float().div_(255)
        return adaptive_avg_pool2d(levels, (BANDS, TIMES)).flatten(1), None
