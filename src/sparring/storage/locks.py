"""Processes that wait for each other, and refuse to do the same thing twice. A lock dies with the process that holds it.

Where a file system knows no locks, or nothing can be written, nobody waits and nothing is refused.
"""

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sparring.config.errors import UserError
from sparring.storage.files import remove_partial

log = logging.getLogger(__name__)


@contextmanager
def one_at_a_time(place: Path, what: str = "", meanwhile: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Processes that want the same thing made wait for the first; those that come later find it there.

    What a killed one left half-made is removed.

    Args:
        place: where it will lie; the lock lies in ``locks`` beside its folder.
        what: it is, for the line that is logged after a second of waiting.
        meanwhile: called once a second while it waits.
    """
    with ExitStack() as held:
        lock = FileLock(place.parent.with_name("locks") / f"{place.parent.name}-{place.name}.lock")
        for seconds in itertools.count(1):
            try:
                Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(lock.acquire(timeout=1))
                remove_partial(place.parent, place.name)
                break
            except Timeout:
                if seconds == 1:
                    log.info("waiting for another process, which is making %s", what or place)
                meanwhile()
            except OSError:  # nothing can be written there, or nothing locked
                break
        yield


class RunLocked(UserError):
    """Another process is at it."""


@contextmanager
def lock_run(folder: Path, patience: float = 40) -> Iterator[None]:
    """While a run is trained nobody else goes on with it.

    Args:
        folder: the run's.
        patience: seconds to wait for another process to end; ranks whose parent was killed take a while to notice.

    Raises:
        Occupied: another process trains it.
    """
    with ExitStack() as held:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock")
            try:
                held.enter_context(lock.acquire(timeout=1))
            except Timeout:
                log.info("waiting for another process, which is training %s", folder)
                try:
                    held.enter_context(lock.acquire(timeout=patience))
                except Timeout as error:
                    raise RunLocked(
                        f"{folder}: is being trained by another process. Wait for it, or start a run of its own from these "
                        "weights with init=FOLDER."
                    ) from error
        yield
