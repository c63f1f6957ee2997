"""Sparring: experiments with generative adversarial networks."""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from sparring.sampling.exported_generator import ExportedGenerator, ExportedTranslator


def load(path: str | PathLike, device: "torch.device | str" = "cpu") -> "ExportedGenerator | ExportedTranslator":
    """Load a generator that ``python run.py task=export run=...`` wrote.

    Example:
        >>> generator = sparring.load("outputs/.../export/generator.safetensors")
        >>> images = generator.sample(16, seed=0)  # uint8 (16, C, H, W): the images of task=sample
        >>> fakes = generator(generator.latents(16))  # float (16, C, H, W) in [-1, 1], with gradients

    A ``.safetensors`` file runs no code: it holds numbers, and names of this package's own classes. A ``.pt2`` file is
    a program, which PyTorch unpickles: load only files of people whom you trust.

    Args:
        path: the file.
        device: where the generator computes.

    Returns:
        An ``ExportedGenerator`` (latents (batch, dim), and labels (batch,) if it is conditional -> examples); for a run
        that translates images an ``ExportedTranslator`` (images (batch, C, h, w) -> images). Both have ``facts``.

    Raises:
        UserError: the file is missing, damaged, not written by ``task=export``, names code from elsewhere, or does not
            fit this version of the package.
    """
    from sparring.sampling import exported_generator  # imports torch; ``import sparring`` does not

    return exported_generator.load(path, device)
