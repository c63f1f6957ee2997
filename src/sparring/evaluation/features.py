"""What scores are made of: features of images, each image passed through the extractor once."""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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

log = logging.getLogger(__name__)
VERSION = 1  # raised when the same images would get other features


def rounds(images: ImageSet, extractor: Extractor, batch_size: int, title: str) -> Iterator[tuple[range, Batch | None]]:
    """A batch for each rank at a time: the rows of them all, and this rank's own batch (None where none is left).

    The batches are the same, however many ranks share them.
    """
    size, pixels = world_size() * batch_size, math.prod(images.image_size)
    batch = f"evaluation.batch_size={batch_size}: a batch of {pixels:,} pixels each"
    memory.require(6 * min(batch_size, len(images)) * pixels, batch, "choose a smaller one")
    bar = tqdm(
        total=len(images),
        desc=title,
        unit=" images",
        delay=3,
        leave=False,
        dynamic_ncols=True,
        disable=None if rank() == 0 else True,
    )
    with bar:
        for start in range(0, len(images), size):
            signals.raise_if_interrupted()
            rows = range(start, min(start + size, len(images)))
            own, batch = rows[rank() * batch_size : (rank() + 1) * batch_size], None
            if own:
                pixels = images.images(own)
                labels = None if images.labels is None else images.labels[own.start : own.stop]
                found = extractor(pixels)
                batch = Batch(torch.arange(own.start, own.stop), pixels, *found, labels, images.targets(own))
            yield rows, batch
            bar.update(len(rows))


class Reference:
    """The reals of a comparison: their images, and their features, made once and kept on disk.

    Attributes:
        images: the set.
        values: (N, D) float32, memory-mapped; nothing is kept on disk where D is 0.
        classes: (N,) int64, what the extractor's head takes each image for; None without a head.
    """

    def __init__(self, images: ImageSet, extractor: Extractor, cache: Path, batch_size: int = 100):
        """Raises UserError if there is no space for the features."""
        identity = {**images.identity, **extractor.facts, "count": len(images), "version": VERSION}
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self.images = images
        self.folder = cache / "features" / f"{extractor.name}-{key}"
        self.values, self.classes = torch.zeros(len(images), 0), None
        if not extractor.dims:
            return
        if not self._is_whole():
            with self._alone():
                if not self._is_whole():
                    self._build(extractor, identity, batch_size)
        shape = json.loads((self.folder / "facts.json").read_text())["shape"]
        values = torch.from_file(str(self.folder / "values.bin"), size=shape[0] * shape[1], dtype=torch.float32)
        self.values = values.view(shape)
        if extractor.classes:
            self.classes = torch.from_file(str(self.folder / "classes.bin"), size=shape[0], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.images)

    def kept(self, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Tensors that follow from the features, such as their covariance, from the disk or made and kept there."""
        path = self.folder / f"{name}.pt"
        with one_at_a_time(self.folder.with_name(f"{self.folder.name}-{name}"), str(path)):
            remove_partial(self.folder, path.name)
            if (stored := tensor_files.read_cached(path, {"tensors"})) is not None:
                return stored["tensors"]
            made = make()
            with optional_write(path):  # it can be made again
                tensor_files.write({"tensors": made}, path)
        return made

    def _is_whole(self) -> bool:
        """Whether the features are there, on every machine."""
        return all_agree(not writes_here() or find_damage(self.folder) is None)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The first rank waits for other runs that make the same features, and the others for news of it."""
        with ExitStack() as held:
            if rank() == 0:
                what = f"the reals' features, {self.folder}"
                held.enter_context(one_at_a_time(self.folder, what, lambda: broadcast_object(True)))
            while broadcast_object(False):
                pass
            yield

    def _build(self, extractor: Extractor, identity: dict, batch_size: int) -> None:
        """Every rank makes its share; one rank of each machine writes."""
        if (found := find_damage(self.folder)) is not None:
            warn_of_damage(self.folder, found)
        check_free_space(
            self.folder.parents[1],
            len(self) * (4 * extractor.dims + 8),
            "the reals' features",
            "fewer evaluation.reals",
        )
        parts = self._parts(extractor, batch_size)
        if writes_here():
            with write_folder(self.folder) as partial:
                with open(partial / "values.bin", "wb") as values, open(partial / "classes.bin", "wb") as classes:
                    for part in parts:
                        values.write(part[:, :-1].numpy().tobytes())
                        classes.write(part[:, -1].long().numpy().tobytes())
                facts = {"shape": [len(self), extractor.dims], "identity": identity}
                (partial / "facts.json").write_text(json.dumps(facts, indent=2))
        else:
            for _ in parts:
                pass
        barrier()

    def _parts(self, extractor: Extractor, batch_size: int) -> Iterator[Tensor]:
        """Values, and the predicted class as a last column, (n, D + 1): in order, whole on every rank."""
        for rows, batch in rounds(self.images, extractor, batch_size, "features of the reals"):
            part = torch.zeros(len(rows), extractor.dims + 1)
            if batch is not None:
                own = batch.rows - rows.start
                part[own, :-1] = batch.values.cpu()
                if batch.logits is not None:
                    part[own, -1] = batch.logits.argmax(1).cpu().float()
            all_reduce([part])
            yield part
