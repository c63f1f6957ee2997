"""File locks: several processes build a thing once, and a run is trained by one process. A lock ends with its process.

On file systems without locks, or where nothing can be written, no process waits and nothing is refused.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from sparring.config.errors import UserError
from sparring.storage.files import remove_partial

log = logging.getLogger(__name__)


@contextmanager
def one_at_a_time(path: Path, content: str = "", meanwhile: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let one process at a time build ``path``; those that waited find it there.

    What a killed process left of it is removed. The lock file is in ``locks``, next to the folder that holds ``path``.

    Args:
        path: the file or folder.
        content: what it holds, for the message after a second of waiting.
        meanwhile: called after each second of waiting.
    """
    with ExitStack() as held_lock:
        with suppress(OSError):
            lock_file = path.parent.with_name("locks") / f"{path.parent.name}-{path.name}.lock"
            lock_file.parent.mkdir(parents=True, exist_ok=True)
            held_lock.enter_context(_acquire(lock_file, f"making {content or path}", meanwhile=meanwhile))
            remove_partial(path.parent, path.name)
        yield


class RunLocked(UserError):  # noqa: N818 - named after the state
    """Another process trains this run."""


@contextmanager
def lock_run(folder: Path, patience: float = 40) -> Iterator[None]:
    """Lock a run's folder, so that no other process resumes it. Raise RunLocked if one still trains it after a while.

    ``patience`` is in seconds: ranks whose parent was killed take a while to notice.
    """
    with ExitStack() as held_lock:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                held_lock.enter_context(_acquire(folder / ".lock", f"training {folder}", patience))
            except Timeout as error:
                raise RunLocked(
                    f"{folder}: is being trained by another process. Wait for it, or start a new run from its weights "
                    "with init=FOLDER."
                ) from error
        yield


def _acquire(
    lock_file: Path, activity: str, patience: float = math.inf, meanwhile: Callable[[], object] = lambda: None
) -> AcquireReturnProxy:
    """Acquire a lock. Log after a second what its holder does; raise Timeout after ``patience`` seconds."""
    lock, seconds = FileLock(lock_file), 0
    while True:
        try:
            return lock.acquire(timeout=1)
        except Timeout:
            seconds += 1
            if seconds > patience:
                raise
            if seconds == 1:
                log.info("waiting for another process, which is %s", activity)
            meanwhile()
