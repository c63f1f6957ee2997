"""The errors that are the user's to mend, told without a traceback."""

import errno
import os
import shutil
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM)


class UserError(ValueError):
    """A mistake in what was asked for: the message names the key, its value and what would be right."""


class TrainingDiverged(UserError):
    """A loss or a weight stopped being finite."""


def describe_os_error(error: OSError) -> str:
    """What the system refused, and where: the path, and of a full disk how much is free."""
    reason = error.strerror or " ".join(map(str, error.args)) or type(error).__name__
    if error.errno in FULL:
        reason = "no space left on the disk"
    elif error.errno in FORBIDDEN:
        reason = "no permission"
    elif error.errno == errno.EROFS:
        reason = "the disk is read-only"
    if not isinstance(error.filename, str | os.PathLike):
        return reason
    free = f"; {free_space(Path(error.filename))} are free there" if error.errno in FULL else ""
    return f"{os.fspath(error.filename)}: {reason}{free}"


def free_space(path: Path) -> str:
    """What is free on the disk of a path, which need not exist."""
    existing = next(place for place in (path, *path.absolute().parents) if place.exists())
    return readable_size(shutil.disk_usage(existing).free)


def readable_size(size: float) -> str:
    """Bytes as people say them."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"
