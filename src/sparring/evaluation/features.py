"""What scores are made of: features of images, each image passed through the extractor once."""

import hashlib
import json
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sparring import memory, stopping, tensors
from sparring.data.cache import Data
from sparring.distributed import add_up, all_agree, rank, tell, wait_for_all, world_size, writes_here
from sparring.evaluation.sets import ImageSet
from sparring.files import forgiving, need_space, remove_partial
from sparring.folders import building, damage, warn_of
from sparring.locks import one_at_a_time

log = logging.getLogger(__name__)
VERSION = 1  # raised when the same images would get other features


@dataclass(frozen=True)
class Batch:
    """Some images of a set and what an extractor says of them.

    Args:
        rows: (batch,) int64, the place of each in its set.
        images: (batch, C, H, W) uint8.
        values: (batch, D) float32, compared by distances.
        logits: (batch, classes) float32; None from an extractor without a head.
        labels: (batch,) int64, the classes that were asked for; None without.
        targets: (batch, C, H, W) uint8, what each image was to be; None where that is not known.
    """

    rows: Tensor
    images: Tensor
    values: Tensor
    logits: Tensor | None = None
    labels: Tensor | None = None
    targets: Tensor | None = None


class Extractor(ABC):
    """Images to features.

    Attributes:
        name: of the extractor; scores are named after it (``fid`` and ``kid`` are those of ``inception``).
        dims: D, the length of a feature; 0 where there are none.
        classes: number of logits, 0 without a classifier head.
        facts: what decides the features, for the protocol of every score and the key of the cache: at least ``extractor``
            (its name), ``weights`` (the first 16 digits of their SHA-256), ``resize`` and ``precision``.
        takes: the modalities that it makes features of; of any, if it names none.
    """

    name: str
    dims: int
    classes: int
    facts: dict
    takes: Sequence[str] = ("images",)

    @abstractmethod
    def prepare(self, device: torch.device, data: Data | None, cache: Path) -> None:
        """Get ready on a device; ``data`` are the decoded reals (None for other sets), ``cache`` the cache folder."""

    @abstractmethod
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """uint8 images (batch, C, H, W) -> values (batch, D) and logits (batch, classes) or None, float32."""


class NoFeatures(Extractor):
    """Makes none, and needs no weights: for metrics that look at the images alone."""

    name, dims, classes, takes = "none", 0, 0, ()
    facts = {"extractor": "none", "weights": "none", "resize": "none", "precision": "none"}

    def prepare(self, device: torch.device, data: Data | None, cache: Path) -> None:
        self.device = device

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return torch.zeros(len(images), 0, device=self.device), None


def rounds(images: ImageSet, extractor: Extractor, batch_size: int, title: str) -> Iterator[tuple[range, Batch | None]]:
    """A batch for each rank at a time: the rows of them all, and this rank's own batch (None where none is left).

    The batches are the same, however many ranks share them.
    """
    size, pixels = world_size() * batch_size, math.prod(images.image_size)
    batch = f"evaluation.batch_size={batch_size}: a batch of {pixels:,} pixels each"
    memory.need(6 * min(batch_size, len(images)) * pixels, batch, "choose a smaller one")
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
            stopping.check()
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
            if (stored := tensors.read_kept(path, {"tensors"})) is not None:
                return stored["tensors"]
            made = make()
            with forgiving(path):  # it can be made again
                tensors.write({"tensors": made}, path)
        return made

    def _is_whole(self) -> bool:
        """Whether the features are there, on every machine."""
        return all_agree(not writes_here() or damage(self.folder) is None)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The first rank waits for other runs that make the same features, and the others for news of it."""
        with ExitStack() as held:
            if rank() == 0:
                what = f"the reals' features, {self.folder}"
                held.enter_context(one_at_a_time(self.folder, what, lambda: tell(True)))
            while tell(False):
                pass
            yield

    def _build(self, extractor: Extractor, identity: dict, batch_size: int) -> None:
        """Every rank makes its share; one rank of each machine writes."""
        if (found := damage(self.folder)) is not None:
            warn_of(self.folder, found)
        need_space(
            self.folder.parents[1],
            len(self) * (4 * extractor.dims + 8),
            "the reals' features",
            "fewer evaluation.reals",
        )
        parts = self._parts(extractor, batch_size)
        if writes_here():
            with building(self.folder) as partial:
                with open(partial / "values.bin", "wb") as values, open(partial / "classes.bin", "wb") as classes:
                    for part in parts:
                        values.write(part[:, :-1].numpy().tobytes())
                        classes.write(part[:, -1].long().numpy().tobytes())
                facts = {"shape": [len(self), extractor.dims], "identity": identity}
                (partial / "facts.json").write_text(json.dumps(facts, indent=2))
        else:
            for _ in parts:
                pass
        wait_for_all()

    def _parts(self, extractor: Extractor, batch_size: int) -> Iterator[Tensor]:
        """Values, and the predicted class as a last column, (n, D + 1): in order, whole on every rank."""
        for rows, batch in rounds(self.images, extractor, batch_size, "features of the reals"):
            part = torch.zeros(len(rows), extractor.dims + 1)
            if batch is not None:
                own = batch.rows - rows.start
                part[own, :-1] = batch.values.cpu()
                if batch.logits is not None:
                    part[own, -1] = batch.logits.argmax(1).cpu().float()
            add_up([part])
            yield part


def hash_of(tensors: dict[str, Tensor]) -> str:
    """The first 16 digits of the SHA-256 of tensors and their names."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
