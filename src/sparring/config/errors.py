"""Errors that the person can fix, reported without a traceback."""

import errno
import os
import shutil
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM)


class UserError(ValueError):
    """A mistake in what was asked for: the message names the key, its value and what would be right."""


class TrainingDiverged(UserError):  # noqa: N818
    """A loss or a weight that is no longer finite."""


def describe_os_error(error: OSError) -> str:
    """Return the path and the reason of a system's error; for a full disk, also its free space."""
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
    """Return the free space on the disk of a path, which need not exist."""
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    return readable_size(shutil.disk_usage(existing).free)


def readable_size(size: float) -> str:
    """Return a number of bytes with its unit, up to GiB."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"
