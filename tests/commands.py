"""Start the real command in a process of its own: as a person does, or forked from one that has imported everything."""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

RUN = Path(__file__).parents[1] / "run.py"
WARM = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
WARM.set_forkserver_preload([f"sparring.tasks.{task}" for task in ("train", "evaluate", "sample", "export")])


def run(
    *arguments: str, cwd: Path, check: bool = True, cold: bool = False, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess:
    """Run ``python run.py`` to its end.

    Args:
        arguments: of the command line.
        cwd: the working directory.
        check: raise AssertionError with all output if the exit status is not 0.
        cold: start a new interpreter. It imports longer than most commands run; each task should be so once.
        timeout: in seconds; then the process is killed, and subprocess.TimeoutExpired is raised.
        environment: additional variables.
    """
    start = _run_cold if cold else _run_warm
    done = start(arguments, cwd, timeout, os.environ | environment)
    if check and done.returncode != 0:
        raise AssertionError(f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def begin(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen:
    """Start ``python run.py`` in a new interpreter and return at once; ``stdout`` has all output."""
    command, env = [sys.executable, str(RUN), *arguments], os.environ | environment
    return subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def start(*arguments: str, cwd: Path) -> multiprocessing.Process:
    """Start the command in a forked process and return at once; its output is discarded."""
    process = WARM.Process(target=_run_here, args=(arguments, cwd, dict(os.environ), (os.devnull, os.devnull)))
    process.start()
    return process


def _run_cold(arguments, cwd: Path, timeout: float, environment: dict) -> subprocess.CompletedProcess:
    command = [sys.executable, str(RUN), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)


def _run_warm(arguments, cwd: Path, timeout: float, environment: dict) -> subprocess.CompletedProcess:
    with TemporaryDirectory() as folder:
        outputs = Path(folder, "stdout"), Path(folder, "stderr")
        process = WARM.Process(target=_run_here, args=(arguments, cwd, environment, outputs))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout)
        return subprocess.CompletedProcess(arguments, process.exitcode, *(path.read_text() for path in outputs))


def _run_here(arguments, cwd: Path, environment: dict, outputs: tuple) -> None:
    for stream, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY), stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    sys.path[:0] = [str(RUN.parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        runpy.run_path(str(RUN), run_name="__main__")
    finally:
        threading._shutdown()  # an interpreter does this at its end; a process of multiprocessing does not
        atexit._run_exitfuncs()
