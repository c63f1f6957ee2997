"""The modes, quality, spread and reverse KL of finished runs as a table: means and deviations over their seeds."""

from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from sparring.compare import records, tables

SCORES = ("modes_recovered", "high_quality", "within_mode_spread", "reverse_kl")


def run(cfg: DictConfig, folder: Path, of: str | list[str]) -> None:
    """Print a Markdown table and write it to ``table.md``; runs that differ in the seed alone share a row.

    Args:
        cfg: unused.
        folder: where the table is written.
        of: folders of runs, or of sweeps; ``*`` is expanded.

    Raises:
        UserError: a folder holds no run.
    """
    table = tables.over_seeds(records.find(of, "benchmark.of"))
    table = replace(table, directions={name: way for name, way in table.directions.items() if name in SCORES})
    (folder / "table.md").write_text(table.markdown())
    print(table.markdown())
