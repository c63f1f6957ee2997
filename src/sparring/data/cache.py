"""Every data set is decoded once, into a memory-mapped file of uint8 pixels."""

import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sparring.data.source import Source
from sparring.errors import UserError
from sparring.files import building, need_space, one_at_a_time

if TYPE_CHECKING:
    from sparring.data.mixture import Mixture

log = logging.getLogger(__name__)
VERSION = 1  # raised when the same source would be decoded to other pixels


@dataclass(frozen=True)
class Data:
    """A decoded data set.

    Args:
        columns: ``images`` (N, C, H, W) uint8, or points (N, dims) float32, and ``labels`` (N,) int64 if there are any.
        key: names the content; equal for equal source, size, crop and files.
        class_names: of the labels.
        skipped: unreadable images that were left out.
        name: of the source.
        mixture: of points: what they were drawn from.
    """

    columns: dict[str, Tensor]
    key: str
    class_names: list[str]
    skipped: int = 0
    name: str = "data"
    mixture: "Mixture | None" = None

    def __len__(self) -> int:
        return len(self.columns["images"])


def load(source: Source, folder: str | os.PathLike) -> Data:
    """The source's examples from the cache, which is filled first if it has to be.

    The cache is written under a temporary name and renamed when complete, so a half-written one is never read.

    Args:
        source: what is decoded.
        folder: the cache folder; the data lie in ``datasets`` below it.

    Raises:
        UserError: data missing, unreadable or empty, or no space for them.
    """
    if (drawn := source.drawn()) is not None:
        return drawn
    folder = Path(folder).expanduser()
    with one_at_a_time(folder / "datasets" / re.sub(r"[^\w.-]+", "_", source.name)):
        return _load(source, folder)


def _load(source: Source, folder: Path) -> Data:
    source.prepare()
    identity = {
        "source": type(source).__name__,
        "image_size": source.image_size,
        "channels": source.channels,
        "classes": source.class_names,
        "version": VERSION,
        **source.identity(),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    name = re.sub(r"[^\w.-]+", "_", source.name)
    place = folder / "datasets" / f"{name}-{source.image_size}px-{key}"
    if not _is_whole(place):
        _build(source, identity, place)
    return _open(place, key, source.name)


def _build(source: Source, identity: dict, place: Path) -> None:
    needed = len(source) * (source.channels * source.image_size**2 + 8)
    need_space(place.parent.parent, needed, "the decoded data", "a smaller data.image_size")
    with building(place, _is_whole) as partial:
        labels, skipped = [], 0
        with open(partial / "images.bin", "wb") as file:
            for pixels, label in tqdm(source, "decoding", len(source), unit=" images", delay=2, leave=False):
                if pixels is None:
                    skipped += 1
                else:
                    file.write(pixels.tobytes())
                    labels.append(label)
        if not labels:
            raise UserError(f"none of the {skipped:,} images of {source.name} can be read")
        if source.num_classes:
            np.asarray(labels, dtype=np.int64).tofile(partial / "labels.bin")
        shape = [len(labels), source.channels, source.image_size, source.image_size]
        facts = {"shape": shape, "class_names": source.class_names, "skipped": skipped, "identity": identity}
        (partial / "facts.json").write_text(json.dumps(facts, indent=2))


def _is_whole(place: Path) -> bool:
    """Whether every file is there, of the size that the facts say."""
    try:
        facts = json.loads((place / "facts.json").read_text())
        sizes = {"images.bin": int(np.prod(facts["shape"]))}
        if facts["class_names"]:
            sizes["labels.bin"] = 8 * facts["shape"][0]
        return all((place / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _open(place: Path, key: str, name: str) -> Data:
    facts = json.loads((place / "facts.json").read_text())
    shape = facts["shape"]
    pixels = torch.from_file(str(place / "images.bin"), size=int(np.prod(shape)), dtype=torch.uint8)
    columns = {"images": pixels.view(shape)}
    if facts["class_names"]:
        columns["labels"] = torch.from_file(str(place / "labels.bin"), size=shape[0], dtype=torch.int64)
    if facts["skipped"]:
        log.warning("%d unreadable images were left out (data.on_bad_image=skip)", facts["skipped"])
    return Data(columns, key, facts["class_names"], facts["skipped"], name)
