"""Images per second out of the batch source, next to ImageFolder and DataLoader; time and memory to build the cache."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig
from pydantic import Field
from torch import Tensor

from sparring.benchmarks import cache_build, photographs, timing
from sparring.config.errors import UserError
from sparring.data import cache
from sparring.data.batches import Batches
from sparring.data.image_folder import ImageFolder
from sparring.training.build import build_game

Loader = Callable[[], Iterator[Tensor]]  # starts an endless stream of batches
BYTES, FLOATS, LOADER = "batches, uint8", "batches, as floats", "ImageFolder, DataLoader"
STATES = {
    "first": "the first epoch, for which the cache is built",
    "cold": "an epoch of files that are not in memory",
    "warm": "of files that are in memory",
}


def run(
    cfg: DictConfig,
    folder: Path,
    sizes: list[Annotated[int, Field(ge=1, le=10_000)]],
    batch_size: timing.Count = 64,
    workers: photographs.Workers = 2,
    files: timing.Count = 2000,
    seconds: timing.BlockSeconds = 1.5,
    rounds: timing.Rounds = 3,
    cache_images: timing.CountOrNone = 200_000,
) -> None:
    """Print and record (``benchmark.json``) images per second, the ratios of each round, and what building costs.

    Photographs are made from the data of ``cfg``; conf/benchmark/data.yaml explains the other arguments.

    Raises:
        UserError: no sizes, or fewer files than a batch takes.
    """
    if not sizes:
        raise UserError("benchmark.sizes=[]: sides of images in pixels, [64] for instance")
    if files < batch_size:
        raise UserError(f"benchmark.files={files}: must be at least benchmark.batch_size={batch_size}")
    figures: dict = {"reading": {}}
    with tempfile.TemporaryDirectory(prefix="sparring-") as temporary:
        pictures = photographs.write(cfg, Path(temporary) / "photographs", files)
        convert = build_game(cfg).scaled
        for size in sizes:
            cached = Path(temporary) / f"{size}px"
            batches = partial(_batches, pictures, cached, size, batch_size)
            loaders: dict[str, Loader] = {
                BYTES: batches,
                FLOATS: partial(_converted, batches, convert),
                LOADER: partial(_loaded, pictures, size, batch_size, workers),
            }
            reading = _Reading([pictures, cached], files // batch_size, 4 * max(workers, 1), seconds)
            figures["reading"][size] = {}
            for state in STATES if hasattr(os, "posix_fadvise") else ("first", "warm"):  # Linux can drop files
                taken = timing.in_turns(
                    {name: partial(reading.read, state, way) for name, way in loaders.items()}, rounds
                )
                times = {name: timing.ratios(taken[name], taken[LOADER]) for name in (BYTES, FLOATS)}
                entry = {"images_per_second": timing.per_second(taken), "ratios": times}
                timing.show({f"{size} pixels, batch {batch_size}, {STATES[state]}": entry})
                figures["reading"][size][state] = entry
            shutil.rmtree(cached)
        if cache_images:
            figures["building"] = cache_build.compare(pictures, Path(temporary), cache_images)
    timing.record(folder, figures)


@dataclass
class _Reading:
    folders: list[Path]  # of the photographs, and of the cache
    epoch: int  # batches
    ready: int  # batches that are read before a warm block: then a DataLoader has no more ready than later
    seconds: float  # least time of a warm block

    def read(self, state: str, loader: Loader) -> float:
        """Return seconds per image in one of ``STATES``."""
        if state == "first":
            shutil.rmtree(self.folders[1], ignore_errors=True)
        elif state == "cold":
            _drop_from_memory(self.folders)
        batches = loader()
        if state == "warm":
            _count(islice(batches, self.ready))
        started, images, least = timing.now(), 0, self.seconds if state == "warm" else 0.0
        while images == 0 or timing.now() - started < least:
            images += _count(islice(batches, 1 if state == "warm" else self.epoch))
        return (timing.now() - started) / images


def _count(batches: Iterable[Tensor]) -> int:
    return sum(len(images) for images in batches)


def _batches(pictures: Path, cached: Path, size: int, batch_size: int) -> Iterator[Tensor]:
    """Yield batches from the cache, which is built where it is missing."""
    batches = Batches(cache.load(ImageFolder(str(pictures), size), cached).columns, batch_size)
    for iteration in count():
        yield batches.batch("discriminator", iteration, 0, 1)["images"]


def _converted(batches: Loader, convert: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    return map(convert, batches())


def _loaded(pictures: Path, size: int, batch_size: int, workers: int) -> Iterator[Tensor]:
    """Yield batches of a DataLoader; its workers end with this iterator, and prefetch nothing in another's block."""
    for images, _ in photographs.loader(pictures, size, batch_size, workers):
        yield images


def _drop_from_memory(folders: list[Path]) -> None:
    """Ask the system to forget the content of files; it keeps those that are mapped."""
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            os.fsync(file.fileno())  # it also keeps what is not on the disk yet
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
