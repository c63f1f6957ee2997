"""Features of images: each image passes through the extractor once, and those of the reals are cached on disk."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sparring.config import memory
from sparring.distributed import signals
from sparring.distributed.collectives import (
    all_agree,
    all_reduce,
    barrier,
    broadcast_object,
    rank,
    world_size,
    writes_here,
)
from sparring.evaluation.extractors.base import Batch, Extractor
from sparring.evaluation.image_sets import ImageSet
from sparring.storage import tensor_files
from sparring.storage.cached_folder import find_damage, warn_of_damage, write_folder
from sparring.storage.files import check_free_space, optional_write, remove_partial
from sparring.storage.locks import one_at_a_time

VERSION = 1  # part of the cache key; raise it when the same images would get other features


def feature_batches(
    images: ImageSet, extractor: Extractor, batch_size: int, title: str
) -> Iterator[tuple[range, Batch | None]]:
    """Pass a set through the extractor, one batch for each rank at a time.

    The batches are the same for every number of ranks.

    Args:
        images: the set.
        extractor: makes the features.
        batch_size: images in a batch of one rank.
        title: of the progress bar.

    Yields:
        The rows of all ranks' batches, and this rank's batch, or None if no rows are left for it.
    """
    size, pixels = world_size() * batch_size, math.prod(images.image_size)
    key = f"evaluation.batch_size={batch_size}: a batch of {pixels:,} pixels each"
    memory.require(6 * min(batch_size, len(images)) * pixels, key, "choose a smaller one")
    quiet = None if rank() == 0 else True  # None: show the bar on a terminal
    with tqdm(
        total=len(images), desc=title, unit=" images", delay=3, leave=False, dynamic_ncols=True, disable=quiet
    ) as bar:
        for start in range(0, len(images), size):
            signals.raise_if_interrupted()
            rows, batch = range(start, min(start + size, len(images))), None
            if own := rows[rank() * batch_size : (rank() + 1) * batch_size]:
                pixels = images.images(own)
                labels = None if images.labels is None else images.labels[own.start : own.stop]
                values, logits = extractor(pixels)
                batch = Batch(torch.arange(own.start, own.stop), pixels, values, logits, labels, images.targets(own))
            yield rows, batch
            bar.update(len(rows))


class RealFeatures:
    """The reals' images and features, cached in ``CACHE/features/EXTRACTOR-KEY``.

    KEY is a hash of what decides the features: the images' ``identity`` and count, the extractor's ``facts`` (weights,
    resize, precision) and ``VERSION``. The folder holds ``values.bin``, ``classes.bin``, ``facts.json`` and what
    metrics cache of the features (``gaussian.pt``). A damaged folder is computed again; without disk space for it,
    the constructor raises UserError.

    Attributes:
        images: the set.
        values: (N, D) float32, memory-mapped; with D = 0 nothing is cached.
        classes: (N,) int64, the class that the extractor's head predicts for each image; None without a head.
        folder: the cache folder of these features.
    """

    def __init__(self, images: ImageSet, extractor: Extractor, cache: Path, batch_size: int = 100):
        identity = {**images.identity, **extractor.facts, "count": len(images), "version": VERSION}
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self.images = images
        self.folder = cache / "features" / f"{extractor.name}-{key}"
        self.values, self.classes = torch.zeros(len(images), 0), None
        if not extractor.dims:
            return
        if not self._is_cached():
            with self._locked():
                if not self._is_cached():
                    self._compute(extractor, identity, batch_size)
        count, dims = json.loads((self.folder / "facts.json").read_text())["shape"]
        values = torch.from_file(str(self.folder / "values.bin"), size=count * dims, dtype=torch.float32)
        self.values = values.view(count, dims)
        if extractor.classes:
            self.classes = torch.from_file(str(self.folder / "classes.bin"), size=count, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.images)

    def cached(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return tensors that follow from the features, such as their covariance, from ``NAME.pt`` or computed."""
        path = self.folder / f"{name}.pt"
        with one_at_a_time(self.folder.with_name(f"{self.folder.name}-{name}"), str(path)):
            remove_partial(self.folder, path.name)
            if (stored := tensor_files.read_cached(path, {"tensors"})) is not None:
                return stored["tensors"]
            tensors = compute()
            with optional_write(path):  # it can be computed again
                tensor_files.write({"tensors": tensors}, path)
        return tensors

    def _is_cached(self) -> bool:
        """Return whether every machine has the whole folder."""
        return all_agree(not writes_here() or find_damage(self.folder) is None)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder on the first rank; the other ranks wait for it."""
        with ExitStack() as stack:
            if rank() == 0:
                name = f"the reals' features, {self.folder}"
                stack.enter_context(one_at_a_time(self.folder, name, lambda: broadcast_object(True)))
            while broadcast_object(False):  # the first rank is still waiting for another run
                pass
            yield

    def _compute(self, extractor: Extractor, identity: dict, batch_size: int) -> None:
        """Compute the features on all ranks; one rank of each machine writes the folder."""
        if (damage := find_damage(self.folder)) is not None:
            warn_of_damage(self.folder, damage)
        size = len(self) * (4 * extractor.dims + 8)
        check_free_space(self.folder.parents[1], size, "the reals' features", "fewer evaluation.reals")
        with write_folder(self.folder) if writes_here() else nullcontext() as folder:
            for rows, batch in feature_batches(self.images, extractor, batch_size, "features of the reals"):
                values, classes = torch.zeros(len(rows), extractor.dims), torch.zeros(len(rows), dtype=torch.int64)
                if batch is not None:
                    own = batch.rows - rows.start
                    values[own] = batch.values.cpu()
                    if batch.logits is not None:
                        classes[own] = batch.logits.argmax(1).cpu()
                all_reduce([values, classes])
                if folder is not None:
                    _append(values, folder / "values.bin")
                    _append(classes, folder / "classes.bin")
            if folder is not None:
                facts = {"shape": [len(self), extractor.dims], "identity": identity}
                (folder / "facts.json").write_text(json.dumps(facts, indent=2))
        barrier()


def _append(tensor: Tensor, path: Path) -> None:
    with open(path, "ab") as file:
        file.write(tensor.numpy().tobytes())
