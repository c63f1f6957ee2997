"""Weights that others publish: fetched once into torch's hub folder, and known by their SHA-256."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.storage import tensor_files
from sparring.storage.files import sha256
from sparring.storage.locks import one_at_a_time

KNOWN = {  # the whole of it, of files that torch-fidelity opens
    "weights-inception-2015-12-05-6726825d.pth": "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "vgg16-397923af.pth": "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
}


def download_published(url: str, name: str | None = None) -> Path:
    """Where such a file lies; it is downloaded if it is not there.

    Args:
        url: from where. Its name there, or ``name``, ends in the SHA-256 of the file or in its first digits.
        name: under which it is kept.

    Raises:
        UserError: it is not what was published.
        OSError: it can't be had.
    """
    name = name or url.rpartition("/")[2]
    path = hub_folder() / name
    with one_at_a_time(path):  # else each rank would download it
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            urlopen(Request(url, method="HEAD"), timeout=10).close()  # torch's download has no limit of its own
            torch.hub.download_url_to_file(url, str(path), hash_prefix=_digits(name))
    return path


def sha256_prefix(path: Path) -> str:
    """The SHA-256 of a file. Raises UserError if its name ends in another one, as in torch's hub."""
    found, named = sha256(path), _digits(path.name)
    if named and not found.startswith(named):
        raise UserError(f"{path} is damaged: its SHA-256 begins with {found[:8]}, not with {named[:8]}")
    return found


@contextmanager
def loading_tensors_only() -> Iterator[None]:
    """Whatever calls ``torch.load`` meanwhile is given tensors, and no code is run: torch-fidelity asks for any pickle."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before, os.environ[name] = os.environ.get(name), "1"
    try:
        yield
    finally:
        del os.environ[name]
        os.environ |= {} if before is None else {name: before}


def hub_folder() -> Path:
    """Torch's own folder of downloaded weights."""
    return Path(torch.hub.get_dir(), "checkpoints")


def _digits(name: str) -> str | None:
    named = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
    return KNOWN.get(name) or (named and named[1])


def torchvision_weights(url: str, file: str | None, key: str, way_out: str) -> dict[str, Tensor]:
    """The tensors of a network that torchvision publishes.

    Args:
        url: from where, the file's name ending in the first digits of its SHA-256.
        file: where they lie; None for torch's hub folder, into which they are downloaded if they are not there.
        key: under which ``file`` is set.
        way_out: how to go on without, for the message.

    Raises:
        UserError: they can't be had or are damaged, and how to get them.
    """
    try:
        path = Path(file).expanduser() if file else download_published(url)
        sha256_prefix(path)
        return tensor_files.read(path)
    except Exception as error:  # urllib's, the system's, a damaged file's
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{key}={file or 'null'}: {reason}\nThe weights come from {url} on first use, into {hub_folder()}; without a connection place that "
            f"file there, or name one with {key}=FILE.\n{way_out}"
        ) from error
