"""Images per second out of the batch source beside ImageFolder and DataLoader, and what building the cache costs.

python run.py task=benchmark benchmark=data
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path

from omegaconf import DictConfig
from torch import Tensor

from sparring.benchmarks import cache_build, photographs
from sparring.benchmarks.timing import in_turns, ratios, record, spread
from sparring.config.errors import UserError
from sparring.data import cache
from sparring.data.batches import Batches
from sparring.data.image_folder import ImageFolder
from sparring.training.build import build_game

BYTES, FLOATS, LOADER = "batches, uint8", "batches, as floats", "ImageFolder, DataLoader"
STATES = {
    "first": "the first epoch, for which the cache is built",
    "cold": "an epoch of files that are not in memory",
    "warm": "of files that are in memory",
}


def run(
    cfg: DictConfig,
    folder: Path,
    sizes: list[int],
    batch_size: int = 64,
    workers: int = 2,
    files: int = 2000,
    seconds: float = 1.5,
    rounds: int = 3,
    cache_images: int = 200_000,
) -> None:
    """Print and keep (``benchmark.json``) images per second, the ratios of each round, and what building costs.

    Args:
        cfg: of its data a folder of photographs is made; its model says how bytes become floats.
        folder: where the figures are written.
        sizes: of the images, in pixels of a side.
        batch_size: images a batch.
        workers: of the DataLoader.
        files: photographs.
        seconds: that a block from a warm cache lasts at least.
        rounds: each has a block of every way.
        cache_images: of how many a cache is built, and of a quarter of them; 0 for none.

    Raises:
        UserError: no sizes, or fewer files than a batch takes.
    """
    if not sizes or min(sizes) < 1:
        raise UserError(f"benchmark.sizes={sizes}: sides of images in pixels, [64] for instance")
    if files < batch_size:
        raise UserError(f"benchmark.files={files}: must be at least benchmark.batch_size={batch_size}")
    found: dict = {"reading": {}}
    with tempfile.TemporaryDirectory(prefix="sparring-") as place:
        pictures = photographs.write(cfg, Path(place) / "photographs", files)
        scaled = build_game(cfg).scaled
        for size in sizes:
            reading = _Reading(pictures, Path(place) / f"{size}px", size, batch_size, workers, scaled)
            states = [state for state in STATES if state != "cold" or hasattr(os, "posix_fadvise")]  # Linux
            found["reading"][size] = {state: reading.compare(state, seconds, rounds) for state in states}
            shutil.rmtree(reading.place)
        if cache_images:
            found["building"] = cache_build.compare(pictures, Path(place), cache_images)
    record(folder, found)


class _Reading:
    """The ways to read the photographs in a folder."""

    def __init__(
        self,
        pictures: Path,
        place: Path,
        size: int,
        batch_size: int,
        workers: int,
        scaled: Callable[[Tensor], Tensor],
    ):
        self.pictures, self.place, self.size, self.batch_size, self.workers = pictures, place, size, batch_size, workers
        self.epoch = sum(1 for _ in pictures.rglob("*.jpg")) // batch_size
        self.ways = {BYTES: self._batches, FLOATS: lambda: map(scaled, self._batches()), LOADER: self._loaded}

    def compare(self, state: str, seconds: float, rounds: int) -> dict:
        """Every way in turns: images per second, and how many times as quick as the DataLoader the batches are."""
        ready = {"first": self._first, "cold": self._cold, "warm": partial(self._warm, seconds)}[state]
        taken = in_turns({name: partial(ready, way) for name, way in self.ways.items()}, rounds)
        found = {
            "images_per_second": {name: [1 / s for s in each] for name, each in taken.items()},
            "ratios": {name: ratios(taken[name], taken[LOADER]) for name in (BYTES, FLOATS)},
        }
        print(f"\n{self.size} pixels, batch {self.batch_size}, {STATES[state]}", flush=True)
        for name, speeds in found["images_per_second"].items():
            beside = f"   {spread(found['ratios'][name], ',.1f')} times {LOADER}" if name != LOADER else ""
            print(f"  {name:<24}{statistics.median(speeds):>11,.0f} images/s{beside}")
        return found

    def _first(self, way: Callable[[], Iterator[Tensor]]) -> Callable[[], int]:
        shutil.rmtree(self.place, ignore_errors=True)
        return partial(_read, way(), self.epoch)

    def _cold(self, way: Callable[[], Iterator[Tensor]]) -> Callable[[], int]:
        for folder in (self.pictures, self.place):
            _forget(folder)
        return partial(_read, way(), self.epoch)

    def _warm(self, seconds: float, way: Callable[[], Iterator[Tensor]]) -> Callable[[], int]:
        batches = way()
        _read(batches, 4 * max(self.workers, 1))  # then a DataLoader has no more ready than it has later on

        def read() -> int:
            images, until = 0, time.perf_counter() + seconds
            while time.perf_counter() < until:
                images += len(next(batches))
            return images

        return read

    def _batches(self) -> Iterator[Tensor]:
        """From the cache, which is built where there is none."""
        data = cache.load(ImageFolder(str(self.pictures), self.size), self.place)
        batches = Batches(data.columns, self.batch_size)
        for iteration in count():
            yield batches.batch("discriminator", iteration, 0, 1)["images"]

    def _loaded(self) -> Iterator[Tensor]:
        """By workers that end with this iterator: they prefetch nothing while another way is timed."""
        for images, _ in photographs.loader(self.pictures, self.size, self.batch_size, self.workers):
            yield images


def _read(batches: Iterator[Tensor], times: int) -> int:
    return sum(map(len, islice(batches, times)))


def _forget(folder: Path) -> None:
    """Have the system drop from memory what it keeps of the files; of one that is mapped it would keep it."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())  # what is not on the disk yet is kept, too
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
