"""Weights that others publish: fetched once into torch's hub folder, and known by their SHA-256."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import torch

from sparring.errors import UserError
from sparring.files import sha256
from sparring.locks import one_at_a_time

KNOWN = {  # the whole of it, of files that torch-fidelity opens
    "weights-inception-2015-12-05-6726825d.pth": "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "vgg16-397923af.pth": "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
}


def published(url: str, name: str | None = None) -> Path:
    """Where such a file lies; it is downloaded if it is not there.

    Args:
        url: from where. Its name there, or ``name``, ends in the SHA-256 of the file or in its first digits.
        name: under which it is kept.

    Raises:
        UserError: it is not what was published.
        OSError: it can't be had.
    """
    name = name or url.rpartition("/")[2]
    path = hub() / name
    with one_at_a_time(path):  # else each rank would download it
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            urlopen(Request(url, method="HEAD"), timeout=10).close()  # torch's download has no limit of its own
            torch.hub.download_url_to_file(url, str(path), hash_prefix=_digits(name))
    return path


def digest(path: Path) -> str:
    """The SHA-256 of a file. Raises UserError if its name ends in another one, as in torch's hub."""
    found, named = sha256(path), _digits(path.name)
    if named and not found.startswith(named):
        raise UserError(f"{path} is damaged: its SHA-256 begins with {found[:8]}, not with {named[:8]}")
    return found


@contextmanager
def numbers_only() -> Iterator[None]:
    """Whatever calls ``torch.load`` meanwhile is given tensors, and no code is run: torch-fidelity asks for any pickle."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before, os.environ[name] = os.environ.get(name), "1"
    try:
        yield
    finally:
        del os.environ[name]
        os.environ |= {} if before is None else {name: before}


def hub() -> Path:
    """torch's own folder of downloaded weights."""
    return Path(torch.hub.get_dir(), "checkpoints")


def _digits(name: str) -> str | None:
    named = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
    return KNOWN.get(name) or (named and named[1])
