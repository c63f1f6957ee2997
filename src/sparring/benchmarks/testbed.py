"""Rows of a table from finished runs: mean and deviation of the last scores over the seeds of each experiment."""

import json
from collections import defaultdict
from glob import glob
from pathlib import Path
from statistics import mean, stdev

import yaml
from omegaconf import DictConfig

from sparring.config.errors import UserError
from sparring.config.resolvers import folder_name

SHOWN = {"modes_recovered": "{:.1f}", "high_quality": "{:.1%}", "within_mode_spread": "{:.2f}", "reverse_kl": "{:.4f}"}


def run(cfg: DictConfig, folder: Path, of: str | list[str]) -> None:
    """Print a Markdown table, and write it to ``table.md`` in ``folder``: runs that differ in the seed alone share a row.

    Args:
        of: folders of runs, or of sweeps; ``*`` is expanded.

    Raises:
        UserError: a folder holds no finished run.
    """
    rows = defaultdict(list)
    for path in _runs([of] if isinstance(of, str) else of):
        overrides = yaml.safe_load((path / "overrides.yaml").read_text())
        entries = json.loads((path / "scores.json").read_text())
        rows[folder_name([o for o in overrides if not o.startswith("seed=")])].append(entries[-1])
    columns = [name for name in SHOWN if any(name in e["scores"] for entries in rows.values() for e in entries)]
    lines = [f"| run | seeds | iterations | {' | '.join(columns)} |", "|---|---|---|" + "---|" * len(columns)]
    for name, entries in sorted(rows.items()):
        cells = [_cell([e["scores"].get(column) for e in entries], SHOWN[column]) for column in columns]
        lines.append(f"| {name} | {len(entries)} | {entries[0]['iteration']:,} | {' | '.join(cells)} |")
    table = "\n".join(lines) + "\n"
    (folder / "table.md").write_text(table)
    print(table)


def _runs(named: list[str]) -> list[Path]:
    """The finished runs in or below the named folders."""
    found = []
    for name in named:
        places = [Path(place) for place in sorted(glob(str(Path(name).expanduser())))]
        scored = [file.parent for place in places for file in sorted(place.rglob("scores.json"))]
        if not scored:
            raise UserError(f"benchmark.of={name}: no scored run lies there (none has a scores.json)")
        found += scored
    return found


def _cell(values: list[float | None], shown: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    apart = f" ± {shown.format(stdev(known))}" if len(known) > 1 else ""
    return shown.format(mean(known)) + apart + (f" (of {len(known)})" if len(known) < len(values) else "")
