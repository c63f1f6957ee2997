"""A job of a sweep: skipped if it is done, resumed if it was stopped, on a GPU of its own; its failure ends no other.

Nothing here imports torch until a job starts.
"""

import logging
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sparring.compare import sweep_report
from sparring.config import trusted_code
from sparring.config.messages import explain
from sparring.runs import console, resume
from sparring.storage.locks import RunLocked, lock_run

log = logging.getLogger(__name__)
Work = Callable[[DictConfig], Any]  # does the task of a configuration


def is_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def run_job(cfg: DictConfig, work: Work) -> str:
    """Do one job of a sweep, or what is missing of it; print and record its failure. Return its folder."""
    choices, folder = HydraConfig.get().runtime.choices, Path(HydraConfig.get().runtime.output_dir)
    if choices["task"] != "train":
        _failure_of(lambda: work(cfg), folder)
        return str(folder)
    if choices["hydra/launcher"] == "joblib" and cfg.trainer.devices == 1:
        assign_gpu(HydraConfig.get().job.num)
    if cfg.logger:
        cfg.logger.group = cfg.logger.group or sweep_report.sweep_name(folder.parent)
        cfg.logger.name = cfg.logger.name or folder.name
    try:
        failure = _failure_of(lambda: _train_missing(cfg, folder, work), folder)
    except SystemExit:
        same = console.quoted_override("hydra.sweep.dir", folder.parent)
        print(f"To continue the whole sweep: the same command with {same} sweep.skip_done=true", flush=True)
        raise
    if failure is not None:
        _record(failure, cfg, folder)
    try:
        sweep_report.write_tables(folder.parent)
    except Exception as error:  # another job's files are no reason to end the sweep
        log.warning("no table: %s", error)
    return str(folder)


def assign_gpu(job: int) -> None:
    """Choose one of the GPUs that parallel jobs share, in turns; a process with several jobs keeps its own."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    gpus = visible.split(",")
    if len(gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[job % len(gpus)]


def _train_missing(cfg: DictConfig, folder: Path, work: Work) -> None:
    """Train, resume the run in the folder, or skip it if it is done."""
    from sparring.runs import store

    status = store.read_status(folder)
    if not (store.holds_checkpoints(folder) or status.get("checkpoint")):
        with lock_run(folder):  # an earlier attempt left no weights to resume from
            for name in ("metrics.csv", "scores.json"):
                (folder / name).unlink(missing_ok=True)
            for name in ("samples", "wandb"):
                shutil.rmtree(folder / name, ignore_errors=True)
        work(cfg)
        return
    cfg.resume = str(folder)
    composed: Any = OmegaConf.to_container(cfg)
    cfg.trust = [*cfg.trust, *trusted_code.names(composed)]  # the person typed it
    wanted = resume.settle_config(cfg.copy(), list(HydraConfig.get().overrides.task))
    stored = store.Run(folder, tuple(cfg.trust)).config
    is_done = status.get("state") == "done" and _length(wanted) <= _length(stored)
    if is_done or status.get("kimg", 0) > _length(wanted)[0]:
        log.info("done already: %s", folder)
    else:
        work(cfg)


def _length(cfg: DictConfig) -> tuple[float, float]:
    return cfg.kimg or float("inf"), cfg.trainer.max_steps or float("inf")


def _failure_of(work: Callable[[], Any], folder: Path) -> str | None:
    """Do the work; print and return why it failed, or None."""
    try:
        work()
        return None
    except RunLocked as error:  # a sweep of the same name does this job
        log.warning("%s", error)
        return None
    except Exception as error:
        text = explain(error)
    print(f"\n{folder.name} failed:\n{text}", file=sys.stderr, flush=True)
    sweep_report.failed_jobs.append(folder.name)
    return text.strip()


def _record(failure: str, cfg: DictConfig, folder: Path) -> None:
    """Record a failure in ``status.json``, next to the configuration, which is missing if it was refused."""
    from sparring.runs import store

    if not (folder / "config.yaml").exists():
        with suppress(OmegaConfBaseException):
            store.begin_run(folder, cfg, list(HydraConfig.get().overrides.task))
    store.write_status(folder, "failed", error=failure)
