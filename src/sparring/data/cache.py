"""The cache of decoded data: every data set is decoded once, into memory-mapped files."""

import hashlib
import json
import logging
import math
import os
import re
from contextlib import ExitStack
from pathlib import Path

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

log = logging.getLogger(__name__)
VERSION = 1  # raise it when the same source is decoded to other pixels


def load(source: Source, folder: str | os.PathLike) -> Data:
    """Load a source's examples from ``datasets`` in the cache folder; decode them first if they are not in it.

    An entry is written under a temporary name and renamed when complete, and its checksums are verified whenever it is
    opened, so that neither an incomplete nor a damaged one is read.

    Raises:
        UserError: data are missing, unreadable or empty, or there is no space for them.
    """
    if (drawn := source.drawn()) is not None:
        return drawn
    folder, name = Path(folder).expanduser() / "datasets", re.sub(r"[^\w.-]+", "_", source.name)[:40]
    with one_at_a_time(folder / name, f"a download or a list of the files of {source.name}"):
        source.prepare()
    identity = _identity(source)
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    entry = folder / f"{name}-{source.image_size}px-{key}"
    build_once(entry, lambda partial: _build(source, identity, partial), f"the decoded data of {source.name}, {entry}")
    return _open(entry, key, source)


def _identity(source: Source) -> dict:
    """Return all that the decoded examples depend on; its hash names the entry."""
    identity = {
        "source": type(source).__name__,
        "image_size": source.image_size,
        "channels": source.channels,
        "classes": source.class_names,
        "version": VERSION,
        **source.identity(),
    }
    return identity if source.inputs is None else identity | {"inputs": _identity(source.inputs)}


def _build(source: Source, identity: dict, partial: Path) -> None:
    sides = {"images": source} | ({} if source.inputs is None else {"inputs": source.inputs})
    row = 8 if source.groups is None else 16  # bytes of a label, and of a group
    needed = sum(len(side) * (math.prod(side.shape) * side.dtype.itemsize + row) for side in sides.values())
    check_free_space(partial.parents[1], needed, "the decoded data", "a smaller data.image_size")
    if source.paired:
        skipped = _decode(sides, partial)
    else:
        skipped = sum(_decode({name: side}, partial) for name, side in sides.items())
    facts = {"class_names": source.class_names, "skipped": skipped, "identity": identity}
    for name, side in sides.items():
        size = math.prod(side.shape) * side.dtype.itemsize
        count = (partial / f"{name}.bin").stat().st_size // size
        facts["shape" if name == "images" else "inputs_shape"] = [count, *side.shape]
    (partial / "facts.json").write_text(json.dumps(facts, indent=2))


def _decode(sides: dict[str, Source], folder: Path) -> int:
    """Write the sources' examples row by row, and labels and groups of the images; return how many rows were left out.

    A row that one of the sources can't read is left out of all.
    """
    name, first = next(iter(sides.items()))
    labels, skipped = [], []
    with ExitStack() as stack:
        files = [stack.enter_context(open(folder / f"{side}.bin", "wb")) for side in sides]
        rows = zip(*sides.values(), strict=True)
        for i, row in enumerate(tqdm(rows, "decoding", len(first), unit=f" {first.modality}", delay=2, leave=False)):
            if any(pixels is None for pixels, _ in row):
                skipped.append(i)
                continue
            for file, (pixels, _) in zip(files, row, strict=True):
                file.write(pixels.tobytes())
            labels.append(row[0][1])
    if not labels:
        raise UserError(
            f"data.on_bad_image=skip: none of the {len(skipped):,} {first.modality} of {first.name} can be read"
        )
    if name == "images" and first.num_classes:
        np.array(labels, np.int64).tofile(folder / "labels.bin")
    if first.groups is not None:
        np.delete(np.asarray(first.groups, np.int64), skipped).tofile(folder / "groups.bin")
    return len(skipped)


def _open(entry: Path, key: str, source: Source) -> Data:
    facts = json.loads((entry / "facts.json").read_text())
    columns = {"images": _mapped(entry / "images.bin", facts["shape"], getattr(torch, source.dtype.name))}
    if "inputs_shape" in facts:
        columns["inputs"] = _mapped(entry / "inputs.bin", facts["inputs_shape"])
    if facts["class_names"]:
        columns["labels"] = _mapped(entry / "labels.bin", facts["shape"][:1], torch.int64)
    groups = entry / "groups.bin"
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
