"""Time and memory to build the cache, each time in a process of its own."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sparring.data import cache
from sparring.data.image_folder import ImageFolder

SIZE = 64  # pixels


def compare(pictures: Path, place: Path, images: int) -> list[dict]:
    """Build caches of so many images, of a quarter, and of a sixteenth on one core; print and return what each took.

    Args:
        pictures: a folder of files; as many as wanted are links to them, each of which is decoded.
        place: where links and caches may lie for a while.
        images: in the largest cache.
    """
    found = []
    print(f"\nBuilding the cache, {SIZE} pixels", flush=True)
    for share, cores in ((16, 1), (4, None), (1, None)):
        entry = json.loads(in_a_process(pictures, place, max(images // share, 1), cores))
        found.append(entry)
        rate = entry["images"] / entry["seconds"]
        print(
            f"  {entry['images']:>9,} images  {entry['seconds']:7.1f} s  {rate:8,.0f} images/s on {entry['cores']} cores, "
            f"{rate / found[0]['images'] * found[0]['seconds']:.2f} times one   "
            f"memory {entry['peak'] / 2**20:,.0f} MiB at most, {entry['before'] / 2**20:,.0f} of them before",
            flush=True,
        )
    return found


def in_a_process(pictures: Path, place: Path, images: int, cores: int | None = None) -> str:
    """What ``_build`` says of so many images, as JSON."""
    files = sorted(pictures.rglob("*.jpg"))
    with tempfile.TemporaryDirectory(dir=place) as folder:
        links = Path(folder, "links")
        links.mkdir()
        for i in range(images):
            os.link(files[i % len(files)], links / f"{i:07}.jpg")
        command = [sys.executable, "-m", __name__, str(links), folder, str(cores or "")]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _memory(line: str) -> int:
    """Bytes of memory that this process holds (``VmRSS``), or held at most (``VmHWM``)."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * next(int(row.split()[1]) for row in status.read_text().splitlines() if row.startswith(line))


def _build(pictures: str, place: str, cores: str) -> dict:
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    before, started = _memory("VmRSS"), time.perf_counter()
    data = cache.load(ImageFolder(pictures, SIZE), place)
    return {
        "images": len(data),
        "seconds": time.perf_counter() - started,
        "cores": int(cores or os.cpu_count() or 1),
        "before": before,
        "peak": _memory("VmHWM"),
    }


if __name__ == "__main__":
    print(json.dumps(_build(*sys.argv[1:])))
