"""python run.py [overrides]: compose the experiment and do the task it names. See README.md and conf/config.yaml."""

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sparring import checks, ranks, stored, sweeps, typed
from sparring.explain import explain

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach the lines below, which tell them in the user's words
CONF = Path(__file__).resolve().parent / "conf"


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(cfg: DictConfig) -> None:
    sweeps.job(cfg, do) if sweeps.is_sweep() else do(cfg)


def do(cfg: DictConfig) -> None:
    overrides = list(HydraConfig.get().overrides.task)
    checks.check_task(cfg, overrides)
    checks.check(cfg := stored.settle(cfg, overrides))
    ranks.start(cfg)


if __name__ == "__main__":
    try:
        arguments = typed.checked(sys.argv[1:], CONF)
        sys.argv[1:] = sweeps.named_by_what_varies(stored.completed(arguments, CONF))
        ranks.follow() if ranks.is_follower() else main()
        sys.exit(1 if sweeps.Report.failed else 0)
    except Exception as error:
        print(explain(error, CONF), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
