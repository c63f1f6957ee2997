"""Sparring: experiments with generative adversarial networks."""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from sparring.sampling.exported_generator import ExportedGenerator, ExportedTranslator


def load(path: str | PathLike, device: "torch.device | str" = "cpu") -> "ExportedGenerator | ExportedTranslator":
    """The generator in a file that ``python run.py task=export run=...`` wrote; see ``sparring.sampling.exported_generator``."""
    from sparring.sampling import exported_generator  # and with it torch, which this package's own import does without

    return exported_generator.load(path, device)
