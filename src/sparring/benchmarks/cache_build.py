"""Time and memory to build the cache, each time in a process of its own: part of ``benchmark=data``."""

import os
import re
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil

from sparring.benchmarks.timing import show
from sparring.data import cache
from sparring.data.image_folder import ImageFolder

SIZE = 64  # pixels


def compare(photographs: Path, folder: Path, images: int) -> list[dict]:
    """Build caches of so many images, of a quarter, and of a sixteenth on one core; print and return what each took.

    Args:
        photographs: a folder of JPEG files; a cache of more images has several links to each, and decodes them all.
        folder: where links and caches are put for a while.
        images: in the largest cache.
    """
    entries = []
    for share, cores in ((16, 1), (4, None), (1, None)):
        entries.append(entry := build_in_process(photographs, folder, max(images // share, 1), cores))
        speed, speed_of_one = (each["images"] / each["seconds"] for each in (entry, entries[0]))
        ratio = {"images per second": speed, "of one core": speed / speed_of_one}
        show({f"building a cache of {SIZE} pixels, memory in bytes": entry | ratio})
    return entries


def build_in_process(photographs: Path, folder: Path, images: int, cores: int | None = None) -> dict:
    """Build a cache in a process of its own.

    Returns:
        ``images``, ``seconds``, ``cores``, and the process's memory in bytes ``before`` and at its ``peak``.
    """
    files = sorted(photographs.rglob("*.jpg"))
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        links = Path(temporary, "links")
        links.mkdir()
        for i in range(images):
            os.link(files[i % len(files)], links / f"{i:07}.jpg")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_build, str(links), temporary, cores).result()


def _build(links: str, folder: str, cores: int | None) -> dict:
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    data = cache.load(ImageFolder(links, SIZE), folder)
    seconds, cores = time.perf_counter() - started, cores or os.cpu_count()
    return {"images": len(data), "seconds": seconds, "cores": cores, "before": before, "peak": _peak_memory()}


def _peak_memory() -> int:
    """Return the most bytes that this process held; on Linux without its parent's, which ``ru_maxrss`` includes."""
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.is_file() else None
    return 1024 * int(peak[1]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
