"""Files of tensors, read whole or not at all, and never as code."""

import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from sparring.errors import UserError


def read(path: Path, device: torch.device | str = "cpu") -> Any:
    """What ``torch.save`` wrote there: tensors, numbers, strings, and lists and dictionaries of them.

    PyTorch's own reader does not look at the checksums in its files, so that a flipped byte becomes another weight.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, or holds code.
    """
    try:
        if zipfile.is_zipfile(path):  # else of PyTorch before 1.6, whose files have no checksums
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


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of the engine: ``state_dict``, ``global_step`` in iterations, ``kimg``, and what resuming needs.

    Raises:
        UserError: it is none, is damaged, or holds code.
    """
    found = read(path)
    kinds = {"state_dict": dict, "global_step": int, "kimg": float}
    if not isinstance(found, dict) or not all(isinstance(found.get(key), kind) for key, kind in kinds.items()):
        raise UserError(f"{path}: not a checkpoint of a run, which holds {', '.join(kinds)}")
    return found


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
