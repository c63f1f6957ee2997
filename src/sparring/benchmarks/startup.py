"""Seconds from the command to the end of the first iteration, next to the imports that a plain script needs."""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from sparring.benchmarks.commands import RUN, passed_on, watch
from sparring.benchmarks.timing import Rounds, in_turns, record, show

# The log gets its first row at the end of the first iteration.
ONE_ITERATION = ["trainer.max_steps=1", "trainer.log_every_n_steps=1", "evaluation=none", "logger=none"]


def run(cfg: DictConfig, folder: Path, rounds: Rounds = 5) -> None:
    """Print and record (``benchmark.json``) the seconds of each command in each round; the data are cached by then.

    The overrides of this command are passed on. conf/benchmark/startup.yaml explains the arguments.

    Raises:
        UserError: a command fails; the message holds its output.
    """
    own = passed_on()
    with tempfile.TemporaryDirectory(prefix="sparring-") as temporary:
        run_folder = Path(temporary, "run")
        first = [*RUN, *own, *ONE_ITERATION, f"hydra.run.dir={run_folder}"]
        ways = {
            "run.py, first iteration": partial(seconds_until, first, run_folder / "metrics.csv"),
            "run.py --cfg job": partial(seconds_until, [*RUN, *own, "--cfg", "job"]),
            "import torch, torchvision": partial(seconds_until, ["-c", "import torch, torchvision"]),
            "import torch, pytorch_lightning": partial(seconds_until, ["-c", "import torch, pytorch_lightning"]),
        }
        seconds = in_turns(ways, rounds)
    iteration, *_, imports = seconds.values()
    show(seconds | {"the first less the last": [a - b for a, b in zip(iteration, imports, strict=True)]})
    record(folder, {"seconds": seconds})


def seconds_until(arguments: list[str], file: Path | None = None) -> float:
    """Return the seconds from the start of ``python ARGUMENTS`` to its end, or until it has written a file.

    The folder of the file is removed before; the command has ended when this returns.
    """
    if file is not None:
        shutil.rmtree(file.parent, ignore_errors=True)
    return watch(arguments, lambda *_: file is not None and file.exists(), every=0.005)
