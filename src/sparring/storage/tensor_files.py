"""Files of tensors: written and read whole or not at all, and never read as code."""

import hashlib
import logging
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.storage.files import atomic_write

log = logging.getLogger(__name__)
ZIP = b"PK\x03\x04"  # the first bytes of an archive
CHECKPOINT = {"state_dict": dict, "global_step": int, "kimg": float}  # what every one holds
RESUMING = {
    "optimizer_states": list,
    "lr_schedulers": list,
    "loops": dict,
    "callbacks": dict,
    "meter": list,
    "pytorch-lightning_version": str,
}  # and ours, too


def read(path: Path, device: torch.device | str = "cpu") -> Any:
    """What ``torch.save`` wrote there: tensors, numbers, strings, and lists and dictionaries of them.

    PyTorch's own reader does not look at the checksums in its files, so that a flipped byte becomes another weight. It goes by
    a file's first bytes and other readers by its last ones: a file that is a zip archive to one of them alone is none of ours.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, holds code, or is two files in one.
    """
    try:
        with open(path, "rb") as file:
            begins = file.read(len(ZIP)) == ZIP  # else of PyTorch before 1.6, whose files have no checksums
        if begins != zipfile.is_zipfile(path):
            raise ValueError("it begins as a file of one kind, and ends as one of another")
        if begins:
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise ValueError(f"the checksum of {damaged} is wrong")
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch's, pickle's, zipfile's, the system's
        if named := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{path}: holds code ({named[1]}), which is never run: files of weights hold numbers alone"
            ) from error
        raise UserError(f"{path} is damaged, or no file of weights ({_first_line(error)})") from error


def write(content: Any, path: Path) -> None:
    """Put tensors, and what ``read`` knows besides, into a file: whole, or not at all.

    Raises:
        OSError: it can't be written; the path is named.
    """
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch's writer complains of its own place in the file
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def read_cached(path: Path, keys: set[str], device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """A file with these keys that can be made again; None where there is none, or, with a warning, where it is damaged."""
    try:
        found = read(path, device)
        if not isinstance(found, dict) or not keys <= found.keys():
            raise UserError(f"{path} is damaged: it holds no {' and '.join(sorted(keys))}")
    except FileNotFoundError:
        return None
    except UserError as error:
        log.warning("%s. It is made again.", error)
        return None
    return found


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of the engine: ``state_dict``, ``global_step`` in iterations, ``kimg``, and what resuming needs.

    Raises:
        UserError: it is none, is damaged, or holds code.
    """
    found = read(path)
    if not isinstance(found, dict) or not all(isinstance(found.get(key), kind) for key, kind in CHECKPOINT.items()):
        raise UserError(f"{path}: not a checkpoint of a run, which holds {', '.join(CHECKPOINT)}")
    for key, kind in (RESUMING | {"run": str | None}).items():
        if not isinstance(found.get(key, None if key == "run" else kind()), kind):
            raise UserError(f"{path}: not a checkpoint of a run, whose {key} are another thing")
    strange = [name for name, value in found["state_dict"].items() if not isinstance(value, torch.Tensor)]
    if strange or not all(isinstance(name, str) for name in found["state_dict"]):
        raise UserError(f"{path}: not a checkpoint of a run, whose state_dict holds tensors by their names")
    if found["global_step"] < 0 or not 0 <= found["kimg"] < math.inf:
        raise UserError(
            f"{path}: not a checkpoint of a run, after {found['global_step']} iterations, {found['kimg']} kimg"
        )
    return found


def check_fit(stored: dict[str, torch.Tensor], own: dict[str, torch.Tensor], said: str) -> None:
    """Raise UserError unless weights are of the names and shapes of a model's ``own``: ``said``, and the first that differ."""

    def told(there: dict[str, torch.Tensor], name: str) -> str:
        return str(tuple(there[name].shape)) if name in there else "absent"

    names = sorted(own.keys() | stored.keys(), reverse=True)  # the game's own before its average's
    wrong = [name for name in names if told(stored, name) != told(own, name)]
    if wrong:
        lines = [f"  {name}: {told(stored, name)} there, {told(own, name)} here" for name in wrong[:8]]
        raise UserError(f"{said} ({len(wrong)} weights differ):\n" + "\n".join(lines))


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def hash_of(tensors: dict[str, Tensor]) -> str:
    """The first 16 digits of the SHA-256 of tensors and their names."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
