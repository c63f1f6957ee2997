"""The real command, started by tests: as a person starts it, or where what it imports is there already."""

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
WARM.set_forkserver_preload(
    ["sparring.tasks.train", "sparring.tasks.evaluate", "sparring.tasks.sample", "sparring.tasks.export"]
)  # its imports take longer than what most tests do with them


def run(
    *arguments: str, cwd: Path, check: bool = True, cold: bool = False, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess:
    """``python run.py`` in a process of its own, which is forked from one that has imported everything unless ``cold``.

    Args:
        arguments: of the command line.
        cwd: where it is typed.
        check: an exit status other than 0 is an AssertionError with all that was said.
        cold: started as a person starts it; a task, and a way to start it, should be so once.
        timeout: in seconds; then it is killed, and subprocess.TimeoutExpired is raised.
        environment: more of it.
    """
    start = _start_cold if cold else _start_warm
    done = start(arguments, cwd, timeout, os.environ | environment)
    if check and done.returncode != 0:
        raise AssertionError(f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def begin(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen:
    """It, cold and under way, with all that it says in ``stdout``."""
    command, env = [sys.executable, str(RUN), *arguments], os.environ | environment
    return subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def start(*arguments: str, cwd: Path) -> multiprocessing.Process:
    """It, forked from a process that has imported everything, and under way; what it says is lost."""
    said = Path(os.devnull), Path(os.devnull)
    process = WARM.Process(target=_be_the_command, args=(arguments, cwd, dict(os.environ), said))
    process.start()
    return process


def _start_cold(arguments, cwd: Path, timeout: float, environment: dict) -> subprocess.CompletedProcess:
    command = [sys.executable, str(RUN), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)


def _start_warm(arguments, cwd: Path, timeout: float, environment: dict) -> subprocess.CompletedProcess:
    with TemporaryDirectory() as folder:
        said = Path(folder, "stdout"), Path(folder, "stderr")
        process = WARM.Process(target=_be_the_command, args=(arguments, cwd, environment, said))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout)
        return subprocess.CompletedProcess(arguments, process.exitcode, *(path.read_text() for path in said))


def _be_the_command(arguments, cwd: Path, environment: dict, said: tuple[Path, Path]) -> None:
    for stream, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY), stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    sys.path[:0] = [str(RUN.parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        runpy.run_path(str(RUN), run_name="__main__")
    finally:
        threading._shutdown()  # as an interpreter ends, and multiprocessing's processes do not
        atexit._run_exitfuncs()
