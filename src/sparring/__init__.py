"""Sparring: experiments with generative adversarial networks."""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from sparring.exported import Sampler, Translator


def load(path: str | PathLike, device: "torch.device | str" = "cpu") -> "Sampler | Translator":
    """The generator in a file that ``python run.py task=export run=...`` wrote; see ``sparring.exported``."""
    from sparring import exported  # and with it torch, which this package's own import does without

    return exported.load(path, device)
