"""Commands in processes of their own."""

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from hydra.core.hydra_config import HydraConfig

from sparring.config.errors import UserError

RUN = ["-c", "from sparring.cli import main; main()"]  # run.py, also where only the package is installed


def passed_on(*others: str) -> list[str]:
    """Return this command's overrides for the measured ones: all but ``task``, ``benchmark`` and those beginnings."""
    return [o for o in HydraConfig.get().overrides.task if not o.startswith(("task=", "benchmark", *others))]


def watch(arguments: Sequence[str], look: Callable[[int, float], bool], every: float) -> float:
    """Run ``python ARGUMENTS``, look at it regularly, and wait for its end.

    Args:
        arguments: of the interpreter.
        look: is called with the process id and the seconds since the start, until it returns True.
        every: seconds between two looks.

    Returns:
        Seconds from the start until ``look`` returned True, else until the end.

    Raises:
        UserError: the command failed; the message holds its last output.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        with subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output) as process:
            while process.poll() is None and not look(process.pid, time.perf_counter() - started):
                time.sleep(every)
            seconds = time.perf_counter() - started
        if process.returncode:
            output.seek(0)
            text = output.read().decode(errors="replace")[-2000:]
            raise UserError(f"{shlex.join([sys.executable, *arguments])} failed:\n{text}")
    return seconds
