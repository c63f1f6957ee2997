"""Images, the usual modality."""

from pathlib import Path

import torch
from torch import Tensor

from sparring.data.image_grids import save_image
from sparring.data.modalities.base import Modality


def from_bytes(stored: Tensor) -> Tensor:
    """Convert uint8, of any shape, to floats in [-1, 1]."""
    return stored.to(torch.get_default_dtype()).div_(127.5).sub_(1)


def to_bytes(produced: Tensor) -> Tensor:
    """Convert floats in [-1, 1], of any shape, to uint8; values beyond are clamped."""
    return produced.float().mul(127.5).add_(128).clamp_(0, 255).to(torch.uint8)


class Images(Modality):
    """uint8 (C, H, W), C 1 or 3; networks see [-1, 1], channels last, which convolutions prefer."""

    name, ending = "images", ".png"

    def scaled(self, stored: Tensor) -> Tensor:
        return from_bytes(stored).contiguous(memory_format=torch.channels_last)

    def stored(self, produced: Tensor) -> Tensor:
        return to_bytes(produced)

    def seen(self, examples: Tensor) -> Tensor:
        return examples

    def save(self, example: Tensor, path: Path) -> None:
        save_image(example, path)
