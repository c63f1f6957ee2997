"""The table of a sweep: written after every job, printed and sent to W&B at the end."""

import csv
import gc
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from sparring.storage.files import atomic_write

if TYPE_CHECKING:
    from sparring.compare.tables import Table

failed_jobs: list[str] = []  # of this process; at the end, of the sweep


def sweep_name(sweep: Path) -> str:
    """Return the name of a sweep's folder, or its day and time."""
    return sweep.name if sweep.parent.name == "multirun" else f"{sweep.parent.name} {sweep.name}"


def write_tables(sweep: Path) -> "Table":
    """Write ``table.md`` and ``table.csv``: means and deviations over the seeds of each combination so far."""
    from sparring.compare import records, tables

    table = tables.over_seeds(records.find(str(sweep)))
    for name, text in (("table.md", table.markdown()), ("table.csv", table.csv())):
        with atomic_write(sweep / name) as temporary:
            temporary.write_text(text)
    return table


class Report(Callback):
    """Hydra's callback that reports a sweep at its end, and frees the memory of each job before."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        job_return.cfg = job_return.hydra_cfg = None  # a quarter of a MiB, which sweepers keep of every job
        gc.collect()  # a trainer and its module refer to each other

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        from sparring.runs import store

        sweep = Path(config.hydra.sweep.dir)
        if not (sweep / "table.md").exists():
            return
        folders = [path.parent for path in sweep.glob("*/status.json")]
        failed_jobs.extend(each.name for each in folders if store.read_status(each).get("state") == "failed")
        text = write_tables(sweep).markdown(shutil.get_terminal_size((140, 24)).columns)
        print(f"\n{text}\nAll of it in {sweep / 'table.md'} and {sweep / 'table.csv'}")
        if config.logger:
            _log_table(config, sweep)


def _log_table(config: DictConfig, sweep: Path) -> None:
    """Log the table to W&B, as a run of the sweep's group."""
    from sparring.config.instantiate import build

    with open(sweep / "table.csv", newline="") as file:
        columns, *rows = csv.reader(file)
    run = build(config.logger, "logger", partial=True)(sweep, {}, name="table", group=sweep_name(sweep))
    run.start()
    run.log_table("sweep", columns, rows)
    run.finish()
