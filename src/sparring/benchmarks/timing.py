"""What every benchmark says beside its figures: of which machine they are, how they vary, and whom they stand beside."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from sparring.runs import store
from sparring.storage.files import write_json


def now(device: torch.device | str = "cpu") -> float:
    """Seconds on the clock once the device has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def in_turns(
    ways: dict[str, Callable[[], Callable[[], float]]], rounds: int, device: torch.device | str = "cpu"
) -> dict[str, list[float]]:
    """Seconds apiece of each way in each round, A B A B ..., after a round of warm-up: what else the machine does meets all.

    Args:
        ways: each gets ready, and returns what is timed, which returns how many pieces (images, commands) it did.
        rounds: that count.
        device: whose work has to be done before the clock is read.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for lap in range(rounds + 1):
        for name, ready in ways.items():
            way = ready()
            started = now(device)
            pieces = way()
            if lap:
                seconds[name].append((now(device) - started) / pieces)
            del way  # with what it holds: workers, files
    return seconds


def spread(values: Iterable[float], digits: str = ",.2f") -> str:
    """Median and range in words: ``1.21 (1.18 to 1.25)``."""
    values = list(values)
    return f"{statistics.median(values):{digits}} ({min(values):{digits}} to {max(values):{digits}})"


def ratios(of: list[float], to: list[float]) -> list[float]:
    """How many times as quick as ``to`` (seconds) ``of`` is, round by round."""
    return [there / here for here, there in zip(of, to, strict=True)]


def machine(device: torch.device | str = "cpu") -> dict[str, Any]:
    """What the figures depend on besides the code: versions, processor, threads, GPU."""
    facts = store.versions() | {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {"gpu": properties.name, "gpu_memory_gb": round(properties.total_memory / 2**30, 1)}
    return facts


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def record(folder: Path, found: dict[str, Any], device: torch.device | str = "cpu") -> None:
    """Write ``benchmark.json`` and say on which machine it came about."""
    facts = machine(device)
    write_json(folder / "benchmark.json", {"machine": facts} | found)
    where = facts.get("gpu") or f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads"
    print(f"\n{where}; torch {facts['packages']['torch']}, Python {facts['python']}")
    print(f"Recorded in {folder / 'benchmark.json'}")
