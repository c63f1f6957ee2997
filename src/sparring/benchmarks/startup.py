"""Seconds from the command to the end of the first iteration, beside the imports that a plain script has.

python run.py task=benchmark benchmark=startup
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sparring.benchmarks.timing import in_turns, record, spread
from sparring.config.errors import UserError

RUN = str(Path(__file__).parents[3] / "run.py")
# the log has its first row at the end of the first iteration
ONE_ITERATION = ["trainer.max_steps=1", "trainer.log_every_n_steps=1", "evaluation=none", "logger=none"]


def run(cfg: DictConfig, folder: Path, rounds: int = 5) -> None:
    """Print and keep (``benchmark.json``) the seconds of each command in each round; the data are cached by then.

    Args:
        cfg: only what was set in this command is passed on, to the commands that are timed.
        folder: where the figures are written.
        rounds: each starts every command once, in turns.

    Raises:
        UserError: one of them fails; it is told what it said.
    """
    own = [o for o in HydraConfig.get().overrides.task if not o.startswith(("task=", "benchmark"))]
    with tempfile.TemporaryDirectory(prefix="sparring-") as place:
        commands = _Commands(Path(place))
        first = [RUN, *own, *ONE_ITERATION, f"hydra.run.dir={commands.folder}"]
        ways = {
            "run.py, first iteration": partial(commands.ready, *first, until=commands.folder / "metrics.csv"),
            "run.py --cfg job": partial(commands.ready, RUN, *own, "--cfg", "job"),
            "import torch, torchvision": partial(commands.ready, "-c", "import torch, torchvision"),
            "import torch, pytorch_lightning": partial(commands.ready, "-c", "import torch, pytorch_lightning"),
        }
        taken = in_turns(ways, rounds)
        commands.end()
    for name, seconds in taken.items():
        print(f"  {name:<34}{spread(seconds)} s")
    iteration, *_, imports = taken.values()
    print(f"  {'the first less the last':<34}{spread(a - b for a, b in zip(iteration, imports, strict=True))} s")
    record(folder, {"seconds": taken})


class _Commands:
    """Python commands in processes of their own, one at a time."""

    def __init__(self, place: Path):
        self.folder, self._said, self._process = place / "run", place / "said", None

    def ready(self, *arguments: str, until: Path | None = None) -> Callable[[], int]:
        """What starts one and waits for its end, or only until it has written a file."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

        def start() -> int:
            with open(self._said, "wb") as said:
                self._process = subprocess.Popen([sys.executable, *arguments], stdout=said, stderr=said)
            while self._process.poll() is None and not (until and until.exists()):
                time.sleep(0.005)
            return 1

        return start

    def end(self) -> None:
        """Wait for the one that was started last. Raises UserError if it failed."""
        if self._process and self._process.wait():
            raise UserError(f"{shlex.join(self._process.args)} failed:\n{self._said.read_text()[-2000:]}")
