"""Running means of logged scalars, on the device so that a step never waits for them, and the speed."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce

import torch
from torch import Tensor

from sparring.distributed import collectives

Row = dict[str, Tensor]  # of scalars recorded together: their "sum" (n,), "count" (1,), "bad_since" (n,) by iteration


class RunningMeans:
    """Means of named scalars since they were last read, and the iteration in which each first was NaN or infinite."""

    def __init__(self):
        self._rows: dict[tuple[str, ...], Row] = {}  # changed in place: a recorded iteration writes to them

    @torch.no_grad()
    def record(self, values: dict[str, Tensor], iteration: float | Tensor) -> None:
        """Add scalars () to the means. Those that are recorded together are stacked and added in one operation."""
        if not values:
            return
        new = torch.stack([value.detach().float() for value in values.values()])
        row = self._rows.get(tuple(values))
        if row is None:
            zeros = torch.zeros_like(new)
            row = {"sum": zeros, "count": zeros[:1].clone(), "bad_since": torch.full_like(new, torch.inf)}
            self._rows[tuple(values)] = row
        row["sum"] += new
        row["count"] += 1
        row["bad_since"].copy_(torch.where(new.isfinite(), row["bad_since"], row["bad_since"].clamp(max=iteration)))

    def pool(self) -> None:
        """Add up on the first rank what all ranks recorded, and give ``bad_since`` to every rank."""
        if collectives.world_size() == 1:
            return
        rows: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        is_first, device = collectives.rank() == 0, next((row["sum"].device for row in self._rows.values()), "cpu")
        for state in collectives.gather_objects([[names, _moved(row, "cpu")] for names, row in self._rows.items()]):
            for names, row in state:
                rows[names].append(row)
        for names, parts in rows.items():
            own = self._rows.setdefault(names, _moved(parts[0], device))
            for key in ("sum", "count"):
                own[key].copy_(reduce(torch.add, [part[key] for part in parts])).mul_(is_first)
            own["bad_since"].copy_(torch.stack([part["bad_since"] for part in parts]).amin(0))

    def first_bad(self) -> tuple[str, int] | None:
        """Return the scalar that stopped being finite first and the iteration, or None. Waits for the device."""
        names = [name for row in self._rows for name in row]
        if not names:
            return None
        since = torch.cat([row["bad_since"] for row in self._rows.values()])
        iteration, index = since.min(0)
        return (names[int(index)], int(iteration)) if iteration.isfinite() else None

    def read(self) -> dict[str, float]:
        """Return the means by name and start again. Waits for the device once."""
        if not self._rows:
            return {}
        total, count = defaultdict(float), defaultdict(float)  # a scalar may be in several rows
        numbers = iter(torch.cat([row[key] for row in self._rows.values() for key in ("sum", "count")]).tolist())
        for names, row in self._rows.items():
            sums, times = [next(numbers) for _ in names], next(numbers)
            for name, value in zip(names, sums, strict=True):
                total[name] += value
                count[name] += times
            row["sum"].zero_()
            row["count"].zero_()
        return {name: total[name] / count[name] for name in total if count[name]}

    def state_dict(self) -> list:
        """Return what was recorded since the last reading, so that a resumed run logs the same means.

        The first rank holds all of it; each rank of the resumed run, of which there may be others, takes a share.
        """
        share = 1 / collectives.world_size()
        return [[list(names), _scaled(row, share)] for names, row in self._rows.items()]

    def load_state_dict(self, state: list, device: torch.device | str = "cpu") -> None:
        """Load what ``state_dict`` returned, on the first rank."""
        ranks = collectives.world_size() if collectives.rank() == 0 else 0
        self._rows = {tuple(names): _moved(_scaled(row, ranks), device) for names, row in state}


class Speed:
    """Examples a second since it was last read."""

    def __init__(self):
        self._seconds, self._iterations = 0.0, 0

    @contextmanager
    def timing(self, wait_for: torch.device | None = None) -> Iterator[None]:
        """Time one iteration, with what a GPU still has to do if it is given."""
        started = time.perf_counter()
        yield
        if wait_for is not None and wait_for.type == "cuda":
            torch.cuda.synchronize(wait_for)
        self._seconds, self._iterations = self._seconds + time.perf_counter() - started, self._iterations + 1

    def read(self, images_per_iteration: int) -> dict[str, float]:
        """Return ``images_per_second``, if an iteration was timed, and start again."""
        seconds, iterations = self._seconds, self._iterations
        self._seconds, self._iterations = 0.0, 0
        return {"images_per_second": iterations * images_per_iteration / seconds} if iterations else {}


def _moved(row: Row, device: torch.device | str) -> Row:
    return {key: value.to(device) for key, value in row.items()}


def _scaled(row: Row, factor: float) -> Row:
    return row | {"sum": row["sum"] * factor, "count": row["count"] * factor}
