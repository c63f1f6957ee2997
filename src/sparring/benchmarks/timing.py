"""Time several ways in turns (A B A B), print the figures, and record them with the machine that gave them."""

import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
from pydantic import Field

from sparring.runs import store
from sparring.storage.files import write_json

Rounds = Annotated[int, Field(ge=1, le=10_000)]
BlockSeconds = Annotated[float, Field(ge=0, le=3600)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
CountOrNone = Annotated[int, Field(ge=0, le=1_000_000)]  # 0: leave it out
Figures = dict[str, list[float]]  # of each way, a number for each round


def now(device: torch.device | str = "cpu") -> float:
    """Return the seconds on the clock, read once the device has finished its work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(work: Callable[[], Any], device: torch.device | str = "cpu") -> float:
    """Return the seconds that ``work()`` takes, until the device has finished."""
    started = now(device)
    work()
    return now(device) - started


def in_turns(ways: Mapping[str, Callable[[], float]], rounds: int) -> Figures:
    """Call every way once per round, A B A B, so that other load on the machine meets all of them alike.

    Args:
        ways: each prepares itself, times itself and returns seconds per item.
        rounds: rounds that count; a warm-up round comes first and is dropped.
    """
    laps = [{name: way() for name, way in ways.items()} for _ in range(rounds + 1)]
    return {name: [lap[name] for lap in laps[1:]] for name in ways}


def per_second(seconds: Figures, items: float = 1) -> Figures:
    """Return the speed of each way in each round: ``items`` over its seconds."""
    return {name: [items / value for value in values] for name, values in seconds.items()}


def ratios(seconds: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Return, round by round, how many times as fast as ``reference`` something is; both are in seconds."""
    return [other / own for own, other in zip(seconds, reference, strict=True)]


def show(figures: Mapping[str, Any], indent: str = "  ") -> None:
    """Print figures as an outline; of a list of numbers the median and the range: ``1.21 (1.18 to 1.25)``."""
    for name, value in figures.items():
        for each in value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]:
            if isinstance(each, dict):
                print(f"{indent}{name}")
                show(each, f"{indent}  ")
                continue
            numbers = each if isinstance(each, list) else [each]
            if not all(isinstance(number, int | float) for number in numbers):
                text = str(each)
            elif len(numbers) < 2:
                text = ", ".join(f"{n:,}" if isinstance(n, int) else f"{n:,.5g}" for n in numbers)
            else:
                text = f"{median(numbers):,.5g} ({min(numbers):,.5g} to {max(numbers):,.5g})"
            print(f"{indent + name:<40}  {text}", flush=True)


def machine(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return what the figures depend on besides the code: versions, processor, threads, GPU."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    processor = model[1] if model else platform.processor() or platform.machine()
    facts = store.versions() | {"processor": processor, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {"gpu": properties.name, "gpu_memory_gb": round(properties.total_memory / 2**30, 1)}
    return facts


def record(folder: Path, figures: dict[str, Any], device: torch.device | str = "cpu") -> None:
    """Write ``benchmark.json``, figures and machine, and print the machine."""
    facts = machine(device)
    write_json(folder / "benchmark.json", {"machine": facts} | figures)
    where = facts.get("gpu") or f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads"
    print(f"\n{where}; torch {facts['packages']['torch']}, Python {facts['python']}")
    print(f"Recorded in {folder / 'benchmark.json'}")
