"""From the command line to one checked experiment, and to its task."""

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
    """Run the command in ``sys.argv``; leave with 0, with 1 after an error, with 130 after Ctrl-C."""
    try:
        if launch.is_follower():  # another rank reads the command line
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
    """Return the command line as Hydra is to read it: checked, with a stored run's overrides, with names for a sweep's jobs.

    Raises:
        UserError: naming the argument and what would be right.
    """
    arguments = overrides.check_arguments(arguments, CONF)
    arguments = resume.with_stored_overrides(arguments, CONF)
    return sweep_folders.name_jobs_by_varied_keys(arguments)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def compose(cfg: DictConfig) -> str | None:
    """Do the job that Hydra composed. Return the folder of a sweep's job, which a search reads the score from."""
    if sweep_jobs.is_sweep():
        return sweep_jobs.run_job(cfg, run)
    return run(cfg)


def run(cfg: DictConfig) -> None:
    """Check one experiment and start its task."""
    typed = list(HydraConfig.get().overrides.task)
    validation.check_task(cfg, typed)
    validation.check(cfg := resume.settle_config(cfg, typed))
    launch.start(cfg, resume.check_global_batch, record_failure)


def record_failure(folder: Path, error: str) -> None:
    """Record in ``status.json`` why a run failed whose ranks could not do so themselves."""
    from sparring.runs import store
    from sparring.storage import locks

    with suppress(locks.RunLocked), locks.lock_run(folder, patience=0):  # else another process is training there
        if (folder / "config.yaml").exists() and store.read_status(folder).get("state") in ("running", "failed"):
            store.write_status(folder, "failed", error=error)
