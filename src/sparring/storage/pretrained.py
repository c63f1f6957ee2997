"""Published pretrained weights: downloaded once into torch's hub folder and checked by their SHA-256."""

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
from sparring.storage.checksums import sha256
from sparring.storage.locks import one_at_a_time

KNOWN = {  # the whole SHA-256 of files that torch-fidelity opens
    "weights-inception-2015-12-05-6726825d.pth": "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "vgg16-397923af.pth": "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
}


def download_published(url: str, name: str | None = None) -> Path:
    """Return the path of a published file; download it if it is missing.

    Its name in the ``url``, or ``name``, ends in (the first digits of) its SHA-256, which is checked.

    Raises:
        OSError: it can't be downloaded.
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
    """Return the SHA-256 of a file. Raise UserError if its name ends in another one."""
    actual, named = sha256(path), _digits(path.name)
    if named and not actual.startswith(named):
        raise UserError(f"{path} is damaged: its SHA-256 begins with {actual[:8]}, not with {named[:8]}")
    return actual


def _digits(name: str) -> str | None:
    digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
    return KNOWN.get(name) or (digits and digits[1])


@contextmanager
def loading_tensors_only() -> Iterator[None]:
    """Let every ``torch.load`` read tensors and run no code: torch-fidelity would load any pickle."""
    before = dict(os.environ)
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        yield
    finally:
        del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]
        os.environ |= before


def hub_folder() -> Path:
    """Return torch's folder of downloaded weights."""
    return Path(torch.hub.get_dir(), "checkpoints")


def torchvision_weights(url: str, file: str | None, key: str, way_out: str) -> dict[str, Tensor]:
    """Return the tensors of a network that torchvision publishes.

    Args:
        url: their address; the file's name ends in the first digits of its SHA-256.
        file: a local copy, which ``key`` sets; None uses torch's hub folder and downloads what is missing.
        key: for the message.
        way_out: how to do without them, for the message.

    Raises:
        UserError: they can't be downloaded or are damaged.
    """
    try:
        path = Path(file).expanduser() if file else download_published(url)
        sha256_prefix(path)
        return tensor_files.read(path)
    except Exception as error:  # of urllib, of the system, of a damaged file
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{key}={file or 'null'}: {reason}\nThe weights come from {url} on first use, into {hub_folder()}; "
            f"without a connection place that file there, or name one with {key}=FILE.\n{way_out}"
        ) from error
