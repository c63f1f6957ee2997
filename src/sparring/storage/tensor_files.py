"""Read and write checkpoints and other files of tensors: with their CRC checked, and without running code."""

import hashlib
import logging
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.storage.checksums import check_archive
from sparring.storage.files import atomic_write

log = logging.getLogger(__name__)
REQUIRED = {"state_dict": dict, "global_step": int, "kimg": float}  # in every checkpoint
FOR_RESUMING: dict[str, Any] = dict.fromkeys(("optimizer_states", "lr_schedulers", "meter"), list)  # where present
FOR_RESUMING |= {"loops": dict, "callbacks": dict, "pytorch-lightning_version": str, "run": str | None}


def read(path: Path, device: torch.device | str = "cpu") -> Any:
    """Return the tensors, numbers, strings, lists and dictionaries that ``torch.save`` wrote, after checking the CRC.

    Raises:
        FileNotFoundError: the file is missing.
        UserError: it is damaged, holds code, or is two files in one.
    """
    try:
        check_archive(path)
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # of torch, of pickle, of zipfile, of the system
        if code := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{path}: holds code ({code[1]}), which is never run: files of weights hold only numbers"
            ) from error
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} is damaged, or no file of weights ({reason})") from error


def write(content: Any, path: Path) -> None:
    """Write tensors, and what else ``read`` returns, to a file: whole or not at all. An OSError names the path."""
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch's writer reports its position in the file instead of the cause
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def read_cached(path: Path, keys: set[str], device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Return a file's dictionary with these keys; None if it is missing or, with a warning, damaged."""
    try:
        content = read(path, device)
        if not isinstance(content, dict) or not keys <= content.keys():
            raise UserError(f"{path} is damaged: it holds no {' and '.join(sorted(keys))}")
    except FileNotFoundError:
        return None
    except UserError as error:
        log.warning("%s. It is made again.", error)
        return None
    return content


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a run's checkpoint: ``state_dict``, ``global_step`` in iterations, ``kimg``, and what resuming needs.

    Raises:
        UserError: it is no checkpoint, is damaged (its CRC is wrong), or holds code.
    """
    content = read(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), kind) for key, kind in REQUIRED.items()):
        raise UserError(f"{path}: not a checkpoint of a run, which holds {', '.join(REQUIRED)}")
    for key, kind in FOR_RESUMING.items():
        if key in content and not isinstance(content[key], kind):
            raise UserError(f"{path}: not a checkpoint of a run: the type of {key} is wrong")
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content["state_dict"].items()):
        raise UserError(f"{path}: not a checkpoint of a run, whose state_dict holds tensors by their names")
    iterations, kimg = content["global_step"], content["kimg"]
    if iterations < 0 or not 0 <= kimg < math.inf:
        raise UserError(f"{path}: not a checkpoint of a run, after {iterations} iterations, {kimg} kimg")
    return content


def check_fit(stored: dict[str, Tensor], own: dict[str, Tensor], message: str) -> None:
    """Raise UserError unless stored weights have the names and shapes of a model's ``own``.

    The error is ``message``, followed by the first weights that differ.
    """

    def shape(weights: dict[str, Tensor], name: str) -> str:
        return str(tuple(weights[name].shape)) if name in weights else "absent"

    names = sorted(own.keys() | stored.keys(), reverse=True)  # the game's own before its average's
    wrong = [name for name in names if shape(stored, name) != shape(own, name)]
    if wrong:
        lines = [f"  {name}: {shape(stored, name)} there, {shape(own, name)} here" for name in wrong[:8]]
        raise UserError(f"{message} ({len(wrong)} weights differ):\n" + "\n".join(lines))


def hash_of(tensors: dict[str, Tensor]) -> str:
    """Return the first 16 digits of the SHA-256 of tensors and their names."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
