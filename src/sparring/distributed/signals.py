"""Leaving when asked to: within half a minute, with a checkpoint where there is something to keep, and the command to go on."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from sparring.distributed.collectives import DelayedMax, rank

log = logging.getLogger(__name__)
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]
PATIENCE = 25.0  # seconds from the first signal on; who asks often kills after 30
AT_ONCE = 0.5  # seconds; within them one Ctrl-C comes several times, from the terminal and from who started this


class Interrupted(Exception):
    """An evaluation was left because a rank was asked to stop; it is made again when the run is gone on with."""


class Stop:
    """A context in which SIGTERM, SIGINT and SIGUSR1 ask a run to stop.

    Before training there is nothing to keep: they raise SystemExit. While it is ``training`` they are noted, and what takes
    longer than ``PATIENCE`` afterwards, such as a huge iteration or an upload, is cut off; the checkpoints before it are whole. A
    second Ctrl-C cuts it off at once.

    Attributes:
        command: with which the run is gone on with; None as long as there is none.
        leave: what is still to be done where the process has to be cut off.
        training: whether iterations, or what belongs to them, are under way.
        signal: what all ranks know one of them received; None if none did.
    """

    current: "Stop | None" = None  # of this process

    def __init__(self):
        self.command: str | None = None
        self.leave: Callable[[], object] = lambda: None
        self.training = False
        self.signal: int | None = None
        self.received: int | None = None  # by this rank
        self._anyone = DelayedMax()
        self._before: dict[int, object] = {}
        self._end: threading.Timer | None = None
        self._pressed: float | None = None  # Ctrl-C, when first

    def __enter__(self) -> "Stop":
        Stop.current = self
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        Stop.current = None
        if self._end is not None:
            self._end.cancel()
        while self._before:
            signal.signal(*self._before.popitem())

    def listen(self) -> None:
        """Be the one whom signals are for; in a thread nobody is."""
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, self._note) for number in SIGNALS}
            self._before = self._before or before

    def asked(self) -> bool:
        """Whether a rank was asked to stop. The same on every rank; all call it equally often, and are told one call later."""
        self._agree(self._anyone(self.received or 0))
        return self.signal is not None

    def asked_at_last(self) -> bool:
        """``asked``, with what came of the last call."""
        self._agree(self._anyone(self.received or 0))
        self._agree(self._anyone.told())
        return self.signal is not None

    def _agree(self, number: int) -> None:
        if number and self.signal is None:
            if self.received is None and rank() == 0:
                log.warning("another rank received %s: all stop, with a checkpoint", signal.Signals(number).name)
            self.signal = number
            self._hurry()

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._pressed is not None and time.monotonic() > self._pressed + AT_ONCE:
                self._leave("Left at once")
            self._pressed = self._pressed or time.monotonic()
        if self.received is None:
            self.received, name = number, signal.Signals(number).name
            self._hurry()
            if self.training:
                log.warning("%s received: training stops after this iteration, with a checkpoint", name)
            else:
                self._tell(f"{name} received: stopped before training began")
        if not self.training:
            raise SystemExit(128 + number)

    def _hurry(self) -> None:
        if self._end is None:
            self._end = threading.Timer(PATIENCE, self._leave, [f"Not done within {PATIENCE:.0f} s, left as it is"])
            self._end.daemon = True
            self._end.start()

    def _leave(self, why: str) -> None:
        self._tell(why)
        if rank() == 0:
            with suppress(Exception):  # nothing keeps it from leaving
                self.leave()
        os._exit(128 + (self.signal or self.received))

    def _tell(self, what: str) -> None:
        go_on = "" if self.command is None else f" Go on with: {self.command}"
        if rank() == 0:
            os.write(2, f"\n{what}.{go_on}\n".encode())  # print could be what a signal has interrupted


def raise_if_interrupted() -> None:
    """For the loops of an evaluation, through which all ranks go alike.

    Raises:
        Interrupted: it is part of a run's training, and a rank was asked to stop.
    """
    if Stop.current is not None and Stop.current.training and Stop.current.asked():
        raise Interrupted
