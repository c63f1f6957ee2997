"""Running means of logged scalars, kept on the device so that a step never waits for them."""

from collections import defaultdict

import torch
from torch import Tensor

from sparring import distributed


class Meter:
    """Means of named scalars since they were last read, and the iteration at which each first was NaN or infinite."""

    def __init__(self):
        self._rows: dict[tuple[str, ...], dict[str, Tensor | int]] = {}

    @torch.no_grad()
    def record(self, values: dict[str, Tensor], iteration: int) -> None:
        """Add scalars to the means. Scalars that are recorded together travel together: one stack, one sum."""
        if not values:
            return
        new = torch.stack([value.detach().float() for value in values.values()])
        row = self._rows.setdefault(
            tuple(values), {"sum": torch.zeros_like(new), "count": 0, "bad_since": torch.full_like(new, torch.inf)}
        )
        row["sum"] += new
        row["count"] += 1
        row["bad_since"] = torch.where(new.isfinite(), row["bad_since"], row["bad_since"].clamp(max=iteration))

    def pool(self) -> None:
        """Bring what all ranks recorded to the first one; all of them learn what stopped being finite."""
        if distributed.world_size() == 1:
            return
        rows: dict[tuple[str, ...], list[dict]] = defaultdict(list)
        first, device = distributed.rank() == 0, next((row["sum"].device for row in self._rows.values()), "cpu")
        for state in distributed.gather([[names, _moved(row, "cpu")] for names, row in self._rows.items()]):
            for names, row in state:
                rows[names].append(row)
        for names, parts in rows.items():
            own = self._rows.setdefault(names, _moved(parts[0], device))
            own["sum"].copy_(sum(part["sum"] for part in parts)).mul_(first)
            own["count"] = sum(part["count"] for part in parts) * first
            own["bad_since"] = torch.stack([part["bad_since"] for part in parts]).amin(0).to(device)

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
        rows = {names: row for names, row in self._rows.items() if row["count"]}
        if not rows:
            return {}
        total, count = defaultdict(float), defaultdict(int)  # a scalar may have been recorded in several companies
        sums = iter(torch.cat([row["sum"] for row in rows.values()]).tolist())
        for names, row in rows.items():
            for name in names:
                total[name] += next(sums)
                count[name] += row["count"]
            row["sum"].zero_()
            row["count"] = 0
        return {name: total[name] / count[name] for name in total}

    def state_dict(self) -> list:
        """What was recorded since the last reading, a rank's share of it once pooled, so that a resumed run logs the same means."""
        share = 1 / distributed.world_size()
        return [
            [list(names), row | {"sum": row["sum"] * share, "count": row["count"] * share}]
            for names, row in self._rows.items()
        ]

    def load_state_dict(self, state: list, device: torch.device | str = "cpu") -> None:
        """Take it up again, on as many ranks or others: it is the first one's to tell."""
        ranks = distributed.world_size() if distributed.rank() == 0 else 0
        self._rows = {
            tuple(names): _moved(row | {"sum": row["sum"] * ranks, "count": row["count"] * ranks}, device)
            for names, row in state
        }


def _moved(row: dict, device: torch.device | str) -> dict:
    return {key: value.to(device) if isinstance(value, Tensor) else value for key, value in row.items()}
