"""Every data set is decoded once, into a memory-mapped file: images as uint8 pixels."""

import hashlib
import json
import logging
import math
import os
import re
from array import array
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.modalities import lookup
from sparring.data.source import Source
from sparring.storage.cached_folder import build_once
from sparring.storage.files import check_free_space
from sparring.storage.locks import one_at_a_time

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)
VERSION = 1  # raised when the same source would be decoded to other pixels


def load(source: Source, folder: str | os.PathLike) -> Data:
    """The source's examples from the cache, which is filled first if it has to be.

    The cache is written under a temporary name and renamed when complete, and its checksums are looked at whenever it is
    opened, so that neither a half-written nor a damaged one is read.

    Args:
        source: what is decoded.
        folder: the cache folder; the data lie in ``datasets`` below it.

    Raises:
        UserError: data missing, unreadable or empty, or no space for them.
    """
    if (drawn := source.drawn()) is not None:
        return drawn
    folder, name = Path(folder).expanduser() / "datasets", re.sub(r"[^\w.-]+", "_", source.name)[:40]
    with one_at_a_time(folder / name, f"a download or a list of the files of {source.name}"):
        source.prepare()
    identity = _identity(source)
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    place = folder / f"{name}-{source.image_size}px-{key}"
    build_once(place, lambda partial: _build(source, identity, partial), f"the decoded data of {source.name}, {place}")
    return _open(place, key, source)


def _identity(source: Source) -> dict:
    own = {
        "source": type(source).__name__,
        "image_size": source.image_size,
        "channels": source.channels,
        "classes": source.class_names,
        "version": VERSION,
        **source.identity(),
    }
    return own if source.inputs is None else own | {"inputs": _identity(source.inputs)}


def _build(source: Source, identity: dict, partial: Path) -> None:
    sides = {"images.bin": source} | ({"inputs.bin": source.inputs} if source.inputs is not None else {})
    numbers = 8 if source.groups is None else 16  # bytes of a label, and of a group
    needed = sum(len(side) * (math.prod(side.shape) * side.dtype.itemsize + numbers) for side in sides.values())
    check_free_space(partial.parents[1], needed, "the decoded data", "a smaller data.image_size")
    if source.paired:
        labels, groups, skipped = _decode({partial / name: side for name, side in sides.items()})
        counts = dict.fromkeys(sides, len(labels))
    else:
        decoded = {name: _decode({partial / name: side}) for name, side in sides.items()}
        labels, groups, _ = decoded["images.bin"]
        skipped = sum(left_out for *_, left_out in decoded.values())
        counts = {name: len(kept) for name, (kept, *_) in decoded.items()}
    if source.num_classes:
        np.asarray(labels).tofile(partial / "labels.bin")
    if source.groups is not None:
        np.asarray(groups).tofile(partial / "groups.bin")
    shapes = {n: [counts[n], *side.shape] for n, side in sides.items()}
    facts = {"shape": shapes["images.bin"], "class_names": source.class_names, "skipped": skipped}
    if "inputs.bin" in shapes:
        facts["inputs_shape"] = shapes["inputs.bin"]
    (partial / "facts.json").write_text(json.dumps(facts | {"identity": identity}, indent=2))


def _decode(sides: dict[Path, Source]) -> tuple[array, array, int]:
    """Write each source's pixels to its file, row beside row; one that can't be read in one of them is left out of all.

    Returns:
        the labels of the rows that were written, their groups (empty without), and how many were left out.
    """
    first = next(iter(sides.values()))
    labels, groups, skipped = array("q"), array("q"), 0
    together = first.groups
    with ExitStack() as opened:
        files = [opened.enter_context(open(path, "wb")) for path in sides]
        rows = zip(*sides.values(), strict=True)
        for i, row in enumerate(tqdm(rows, "decoding", len(first), unit=f" {first.modality}", delay=2, leave=False)):
            if any(pixels is None for pixels, _ in row):
                skipped += 1
                continue
            for file, (pixels, _) in zip(files, row, strict=True):
                file.write(pixels.tobytes())
            labels.append(row[0][1])
            if together is not None:
                groups.append(together[i])
    if not labels:
        raise UserError(f"data.on_bad_image=skip: none of the {skipped:,} {first.modality} of {first.name} can be read")
    return labels, groups, skipped


def _open(place: Path, key: str, source: Source) -> Data:
    facts = json.loads((place / "facts.json").read_text())
    columns = {"images": _mapped(place / "images.bin", facts["shape"], getattr(torch, source.dtype.name))}
    if "inputs_shape" in facts:
        columns["inputs"] = _mapped(place / "inputs.bin", facts["inputs_shape"])
    if facts["class_names"]:
        columns["labels"] = _mapped(place / "labels.bin", facts["shape"][:1], torch.int64)
    groups = place / "groups.bin"
    if facts["skipped"]:
        log.warning("%d unreadable %s were left out (data.on_bad_image=skip)", facts["skipped"], source.modality)
    return Data(
        columns,
        key,
        facts["class_names"],
        facts["skipped"],
        source.name,
        paired=source.paired,
        aligned=source.aligned,
        modality=lookup.modality_of(source.facts),
        groups=_mapped(groups, facts["shape"][:1], torch.int64) if groups.exists() else None,
    )


def _mapped(file: Path, shape: list[int], dtype: torch.dtype = torch.uint8) -> Tensor:
    return torch.from_file(str(file), size=int(np.prod(shape)), dtype=dtype).view(shape)
