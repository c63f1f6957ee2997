"""From the command line to one checked experiment, and to its task: prepare, compose, check, run."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sparring.compare import sweep_folders, sweep_jobs, sweep_report
from sparring.config import overrides, validation
from sparring.config.messages import explain
from sparring.distributed import launch
from sparring.runs import resume

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach ``main``, which explains them
CHECKOUT, INSTALLED = Path(__file__).parents[2] / "conf", Path(__file__).parent / "conf"
CONF = CHECKOUT if (CHECKOUT / "config.yaml").is_file() else INSTALLED  # a wheel carries its own copy


def main() -> None:
    """Run the command in ``sys.argv``.

    The process exits with 0, with 1 after an error or a failed job of a sweep, with 130 after Ctrl-C, with 128 + signal
    where a signal stopped training.
    """
    try:
        if launch.is_follower():  # the first rank reads the command line
            launch.follow()
        else:
            sys.argv[1:] = prepare(sys.argv[1:])
            compose()
        sys.exit(1 if sweep_report.failed_jobs else 0)
    except Exception as error:
        print(explain(error, CONF), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def prepare(arguments: list[str]) -> list[str]:
    """Return the command line that Hydra reads: the typed arguments, checked, and the overrides that follow from them.

    Raises:
        UserError: naming the argument and what would be right.
    """
    command = overrides.read(arguments, CONF)
    stored, implied = resume.stored_overrides(command), resume.implied_overrides(command)
    names = sweep_folders.name_jobs_by_varied_keys(command, [*stored, *implied])
    return [*stored, *command.arguments, *implied, *names]


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def compose(cfg: DictConfig) -> str | None:
    """Do the job that Hydra composed. Return the folder of a sweep's job, which a search reads the score from."""
    if sweep_jobs.is_sweep():
        return sweep_jobs.run_job(cfg, run)
    return run(cfg)


def run(cfg: DictConfig) -> None:
    """Check an experiment and run its task, on as many ranks as it asks for."""
    cfg = check(cfg, list(HydraConfig.get().overrides.task))
    launch.start(cfg, resume.check_global_batch, record_failure)


def check(cfg: DictConfig, typed: list[str]) -> DictConfig:
    """Return the experiment to run: the composed one, or a stored one with the changes that were typed.

    Raises:
        UserError: naming the key, its value and what would be right.
    """
    validation.check_task(cfg, typed)
    cfg = resume.settle_config(cfg, typed)
    validation.check(cfg)
    return cfg


def record_failure(folder: Path, error: str) -> None:
    """Record in ``status.json`` why a run failed whose ranks could not do so themselves."""
    from sparring.runs import store
    from sparring.storage import locks

    with suppress(locks.RunLocked), locks.lock_run(folder, patience=0):  # else another process is training there
        if (folder / "config.yaml").exists() and store.read_status(folder).get("state") in ("running", "failed"):
            store.write_status(folder, "failed", error=error)
