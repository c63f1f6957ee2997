"""Sweeps: what their jobs are called, which of them are done, and a table of all as they end.

Nothing here imports torch until a job starts.
"""

import csv
import gc
import itertools
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.errors import OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sparring.config import redaction, trusted_code
from sparring.config.errors import UserError
from sparring.config.messages import explain
from sparring.config.resolvers import folder_name
from sparring.runs import console, resume
from sparring.storage.files import atomic_write, read_json
from sparring.storage.locks import RunLocked, lock_run

if TYPE_CHECKING:
    from sparring.compare.tables import Table

log = logging.getLogger(__name__)
TABLE = "table.md"


def name_jobs_by_varied_keys(arguments: list[str]) -> list[str]:
    """The command line of a sweep, told that what is the same in all of its jobs is no part of their names.

    Raises:
        UserError: ``sweep.name`` is one that holds runs already, and ``sweep.skip_done`` was not asked for.
    """
    if not {"-m", "--multirun"} & set(arguments):
        return arguments
    try:
        overrides = OverridesParser.create().parse_overrides([a for a in arguments if not a.startswith("-")])
    except OverrideParseException:
        return arguments  # Hydra will tell
    typed = {o.key_or_group: o.value() for o in overrides if not o.is_sweep_override()}
    name, skips = typed.get("sweep.name"), typed.get("sweep.skip_done", False)
    if name and (Path(str(name)).is_absolute() or ".." in Path(str(name)).parts):
        raise UserError(f"sweep.name={name}: must be the name of a folder under multirun/")
    if name and not skips and next(Path("multirun", str(name)).glob("*/status.json"), None):
        raise UserError(
            f"sweep.name={name}: multirun/{name} holds runs already. sweep.skip_done=true does what is missing there; "
            "else choose another name."
        )
    if len(typed) == len(overrides) and typed.get("sweep", "grid") == "grid":
        return arguments  # a single job
    return [*arguments, f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(str, typed))}]"]


def job_folder(sweep: str, overrides: list[str], besides: list[str]) -> str:
    """The name of a job's folder: of one that holds this very experiment already, else of a new one by what varies.

    Args:
        sweep: the sweep's folder.
        overrides: what the job was told.
        besides: keys that are the same in all jobs. Those of all with which a run may go on otherwise, such as a larger
            ``kimg``, don't tell experiments apart.
    """
    varying = {resume.key_of(override) for override in overrides} - set(besides)

    def experiment(told: list[str]) -> set[str]:
        keys = {override: resume.key_of(override) for override in told}
        return {
            o
            for o, key in keys.items()
            if key in varying or not key.startswith(("sweep", *resume.FREE)) and key != "trainer"
        }

    for path in sorted(Path(sweep).glob("*/overrides.yaml")):
        if experiment(read_json(path, list)) == experiment(overrides):
            return path.parent.name
    name = folder_name(overrides, besides)
    if not Path(sweep).is_dir():
        return name  # nothing was started: the configuration is looked at
    for place in itertools.chain([Path(sweep, name)], (Path(sweep, f"{name}-{i}") for i in itertools.count(2))):
        with suppress(FileExistsError):
            place.mkdir(parents=True)  # which one of several processes can
            with atomic_write(place / "overrides.yaml") as temporary:
                temporary.write_text(redaction.redact(json.dumps(list(overrides))))
            return place.name


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def run_job(cfg: DictConfig, work: Callable[[DictConfig], Any]) -> None:
    """Do one job of a sweep, or what is missing of it. If it fails, that is told and written down, and the others go on."""
    folder, number = Path(HydraConfig.get().runtime.output_dir), HydraConfig.get().job.num
    if cfg.task._target_ != "sparring.tasks.train.train":
        _failure_of(lambda: work(cfg), folder)
        return
    if "joblib" in str(HydraConfig.get().launcher.get("_target_")) and cfg.trainer.devices == 1:
        assign_gpu(number)
    if cfg.logger:
        cfg.logger.group = cfg.logger.group or name_of(folder.parent)
        cfg.logger.name = cfg.logger.name or folder.name
    try:
        failure = _failure_of(lambda: _rest_of(cfg, folder, work), folder)
    except SystemExit:
        again = console.quoted_override("hydra.sweep.dir", folder.parent)
        print(f"The whole sweep: the same command with {again} sweep.skip_done=true", flush=True)
        raise
    if failure is not None:
        from sparring.runs import store

        if not (folder / "config.yaml").exists():  # refused before it began: what was it to be?
            with suppress(OmegaConfBaseException):
                store.begin_run(folder, cfg, list(HydraConfig.get().overrides.task))
        store.write_status(folder, "failed", error=failure)
    try:
        write_tables(folder.parent)
    except Exception as error:  # a neighbour's files: no reason to end the sweep
        log.warning("no table: %s", error)


def _rest_of(cfg: DictConfig, folder: Path, work: Callable[[DictConfig], Any]) -> None:
    from sparring.runs import store

    if not (store.holds_checkpoints(folder) or store.read_status(folder).get("checkpoint")):
        with lock_run(folder):
            for left in ("metrics.csv", "scores.json"):  # by an attempt that left no weights to go on with
                (folder / left).unlink(missing_ok=True)
            for left in ("samples", "wandb"):
                shutil.rmtree(folder / left, ignore_errors=True)
        return work(cfg)
    cfg.resume = str(folder)
    cfg.trust = [*cfg.trust, *trusted_code.names(OmegaConf.to_container(cfg))]  # what was typed is theirs
    wanted, status = resume.settle_config(cfg.copy(), list(HydraConfig.get().overrides.task)), store.read_status(folder)
    whole = status.get("state") == "done" and _length(wanted) <= _length(store.Run(folder, tuple(cfg.trust)).config)
    if whole or status.get("kimg", 0) > _length(wanted)[0]:
        log.info("done already: %s", folder)
    else:
        work(cfg)


def _length(cfg: DictConfig) -> tuple[float, float]:
    return cfg.kimg or float("inf"), cfg.trainer.max_steps or float("inf")


def _failure_of(work: Callable[[], Any], folder: Path) -> str | None:
    """What went wrong, which is told; None if nothing did."""
    try:
        work()
        return None
    except RunLocked as error:  # by a sweep of the same name: no failure, and not this one's to write down
        log.warning("%s", error)
        return None
    except Exception as error:
        said = explain(error)
    print(f"\n{folder.name} failed:\n{said}", file=sys.stderr, flush=True)
    Report.failed.append(folder.name)
    return said.strip()


def assign_gpu(number: int) -> None:
    """Of several GPUs that jobs share, the one whose turn it is; a process that does several jobs keeps its own."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    gpus = visible.split(",")
    if len(gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]


def name_of(sweep: Path) -> str:
    """What a sweep's folder is called: its name, or day and time."""
    return sweep.name if sweep.parent.name == "multirun" else f"{sweep.parent.name} {sweep.name}"


def write_tables(sweep: Path) -> "Table":
    """Mean and deviation over seeds of each combination so far, best first: ``table.md`` and ``table.csv``."""
    from sparring.compare import records, tables

    table = tables.over_seeds(records.find(str(sweep)))
    for name, text in ((TABLE, table.markdown()), ("table.csv", table.csv())):
        with atomic_write(sweep / name) as temporary:
            temporary.write_text(text)
    return table


class Report(Callback):
    """Hydra's callback that says at the end how a sweep went, and lets nothing of its jobs pile up until then."""

    failed: list[str] = []  # of the jobs of this process

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if config.hydra.sweeper._target_.endswith("BasicSweeper"):
            job_return.cfg = job_return.hydra_cfg = None  # which it would keep of every job, a quarter of a MiB
        gc.collect()  # a trainer and its module refer to each other

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        from sparring.runs import store

        sweep = Path(config.hydra.sweep.dir)
        if (sweep / TABLE).exists():
            folders = [path.parent for path in sweep.glob("*/status.json")]
            self.failed += [each.name for each in folders if store.read_status(each).get("state") == "failed"]
            width = shutil.get_terminal_size((140, 24)).columns
            print(f"\n{write_tables(sweep).markdown(width)}\nAll of it in {sweep / TABLE} and {sweep / 'table.csv'}")
            if config.logger:
                _to_wandb(config, sweep)


def _to_wandb(config: DictConfig, sweep: Path) -> None:
    """The table as a run of the sweep's group."""
    from sparring.config.instantiate import build

    with open(sweep / "table.csv", newline="") as file:
        columns, *rows = csv.reader(file)
    run = build(config.logger, "logger", partial=True)(sweep, {}, name="table", group=name_of(sweep))
    run.start()
    run.log_table("sweep", columns, rows)
    run.finish()


def is_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN
