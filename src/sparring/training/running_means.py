"""Running means of logged scalars, kept on the device so that a step never waits for them."""

from collections import defaultdict

import torch
from torch import Tensor

from sparring.distributed import collectives


class RunningMeans:
    """Means of named scalars since they were last read, and the iteration at which each first was NaN or infinite."""

    def __init__(self):
        self._rows: dict[
            tuple[str, ...], dict[str, Tensor]
        ] = {}  # changed in place, so that a captured step finds them

    @torch.no_grad()
    def record(self, values: dict[str, Tensor], iteration: int | Tensor) -> None:
        """Add scalars to the means. Scalars that are recorded together travel together: one stack, one sum."""
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
        """Bring what all ranks recorded to the first one; all of them learn what stopped being finite."""
        if collectives.world_size() == 1:
            return
        rows: dict[tuple[str, ...], list[dict]] = defaultdict(list)
        first, device = collectives.rank() == 0, next((row["sum"].device for row in self._rows.values()), "cpu")
        for state in collectives.gather_objects([[names, _moved(row, "cpu")] for names, row in self._rows.items()]):
            for names, row in state:
                rows[names].append(row)
        for names, parts in rows.items():
            own = self._rows.setdefault(names, _moved(parts[0], device))
            own["sum"].copy_(sum(part["sum"] for part in parts)).mul_(first)
            own["count"].copy_(sum(part["count"] for part in parts)).mul_(first)
            own["bad_since"].copy_(torch.stack([part["bad_since"] for part in parts]).amin(0))

    def first_bad(self) -> tuple[str, int] | None:
        """The scalar that stopped being finite first and the iteration, or None. Waits for the device."""
        names = [name for row in self._rows for name in row]
        if not names:
            return None
        since = torch.cat([row["bad_since"] for row in self._rows.values()])
        iteration, index = since.min(0)
        return (names[int(index)], int(iteration)) if iteration.isfinite() else None

    def read(self) -> dict[str, float]:
        """The means by name; counting starts anew. Waits for the device once."""
        if not self._rows:
            return {}
        total, count = defaultdict(float), defaultdict(float)  # a scalar may have been recorded in several companies
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
        """What was recorded since the last reading, a rank's share of it once pooled, so that a resumed run logs the same means."""
        share = 1 / collectives.world_size()
        return [
            [list(names), row | {"sum": row["sum"] * share, "count": row["count"] * share}]
            for names, row in self._rows.items()
        ]

    def load_state_dict(self, state: list, device: torch.device | str = "cpu") -> None:
        """Take it up again, on as many ranks or others: it is the first one's to tell."""
        ranks = collectives.world_size() if collectives.rank() == 0 else 0
        self._rows = {
            tuple(names): _moved({key: row[key] * (ranks if key != "bad_since" else 1) for key in row}, device)
            for names, row in state
        }


def _moved(row: dict[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    return {key: value.to(device) for key, value in row.items()}
