"""Handle SIGTERM, SIGINT and SIGUSR1: stop a run within half a minute, with a checkpoint and the command to resume."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from sparring.distributed.collectives import DelayedMax, rank

log = logging.getLogger(__name__)
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]
GRACE = 25.0  # seconds from the first signal to the exit; schedulers often kill after 30
BOUNCE = 0.5  # seconds in which one Ctrl-C can arrive several times, from the terminal and from the parent process


class Interrupted(Exception):  # noqa: N818 - no error
    """An evaluation during training was left because a rank received a signal; a resumed run repeats it."""


class Stop:
    """A context in which a signal stops a run.

    Before training nothing needs to be stored: a signal raises SystemExit. During training (``training``) a signal is
    noted, and training ends after the iteration. What takes longer than ``GRACE`` then, such as a huge iteration or an
    upload, is cut off; the checkpoints before it are whole. A second Ctrl-C cuts it off at once.

    Attributes:
        command: the command that resumes the run; None while there is no run.
        before_exit: called before the process is cut off.
        training: True while iterations, or the evaluations between them, run.
        signal: the signal that some rank received, the same on all ranks; None if none did.
        received: the first signal that this rank received.
    """

    current: "Stop | None" = None  # of this process

    def __init__(self):
        self.command: str | None = None
        self.before_exit: Callable[[], object] = lambda: None
        self.training = False
        self.signal: int | None = None
        self.received: int | None = None
        self._over_ranks = DelayedMax()
        self._timer: threading.Timer | None = None
        self._first_ctrl_c: float | None = None

    def __enter__(self) -> "Stop":
        Stop.current = self
        self._former_handlers = set_handlers(dict.fromkeys(SIGNALS, self._handle))
        return self

    def __exit__(self, *_: object) -> None:
        Stop.current = None
        if self._timer is not None:
            self._timer.cancel()
        set_handlers(self._former_handlers)

    def listen(self) -> None:
        """Handle signals again after a library has set its own handlers."""
        set_handlers(dict.fromkeys(SIGNALS, self._handle))

    def requested(self, wait: bool = False) -> bool:
        """Return True if a rank received a signal, the same on every rank. All ranks call this equally often.

        Args:
            wait: include signals since the last call, and wait for the other ranks to report theirs.
        """
        number = self._over_ranks(self.received or 0)
        if wait:
            number = max(number, self._over_ranks.result())
        if number and self.signal is None:
            if self.received is None and rank() == 0:
                log.warning("another rank received %s: all stop, with a checkpoint", signal.Signals(number).name)
            self.signal = number
            self._start_timer()
        return self.signal is not None

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            now = time.monotonic()
            self._first_ctrl_c = self._first_ctrl_c or now
            if now > self._first_ctrl_c + BOUNCE:
                self._cut_off("Left at once")
        if self.received is None:
            self.received, name = number, signal.Signals(number).name
            self._start_timer()
            if self.training:
                log.warning("%s received: training stops after this iteration, with a checkpoint", name)
            else:
                self._print(f"{name} received: stopped before training began")
        if not self.training:
            raise SystemExit(128 + number)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(GRACE, self._cut_off, [f"Not done within {GRACE:.0f} s, left as it is"])
            self._timer.daemon = True
            self._timer.start()

    def _cut_off(self, reason: str) -> None:
        self._print(reason)
        if rank() == 0:
            with suppress(Exception):  # the process exits in any case
                self.before_exit()
        os._exit(128 + (self.signal or self.received or 0))

    def _print(self, text: str) -> None:
        resume = "" if self.command is None else f" Go on with: {self.command}"
        if rank() == 0:
            os.write(2, f"\n{text}.{resume}\n".encode())  # the signal may have interrupted a print


def raise_if_interrupted() -> None:
    """Leave an evaluation during training if a signal came. Loops that all ranks run equally often call this.

    Raises:
        Interrupted: it is part of a run's training, and a rank received a signal.
    """
    if Stop.current is not None and Stop.current.training and Stop.current.requested():
        raise Interrupted


def set_handlers(handlers: dict[int, Any]) -> dict[int, Any]:
    """Set the handler of each signal and return the former ones. Outside the main thread do nothing."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number, handler in handlers.items()}
