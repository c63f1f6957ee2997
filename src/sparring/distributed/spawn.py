"""Ranks of our own: processes that are started together, stop together and fail together."""

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sparring.config.errors import UserError
from sparring.config.messages import EXPECTED, explain

log = logging.getLogger(__name__)


def start(work: Callable[[Any], None], job: Any, devices: int, nodes: int) -> None:
    """Call ``work(job)`` in the first rank and ``work(None)`` in the others, a process a device, and wait for them.

    A rank that fails takes the others down; SIGTERM, SIGINT and SIGUSR1 are passed on.

    Args:
        work: a function of a module; PyTorch's names for the rank's place are in its environment.
        job: what it does; can be pickled.
        devices: ranks of this machine.
        nodes: machines, on each of which this is called.

    Raises:
        UserError: the nodes were not told of each other, or what the first rank that failed had to say.
        SystemExit: asked to stop, the ranks did.
    """
    import torch.multiprocessing as mp
    from torch.distributed import TCPStore

    environment = {name: os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")}
    if nodes == 1:  # the store is this process's: no free port has to be guessed
        store = TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)
        environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "NODE_RANK": "0"}
        environment["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    elif missing := [name for name, value in environment.items() if value is None]:
        raise UserError(
            f"trainer.num_nodes={nodes}: {', '.join(missing)} must be set. Type this command on every node with MASTER_ADDR (the "
            "first node's address), MASTER_PORT (the same free port) and NODE_RANK (0, 1, ...), or start it with torchrun or srun."
        )
    environment |= {"WORLD_SIZE": str(devices * nodes), "LOCAL_WORLD_SIZE": str(devices)}
    environment["GROUP_RANK"] = environment["NODE_RANK"]
    first = int(environment["NODE_RANK"]) * devices
    with tempfile.TemporaryDirectory() as letters:  # from the ranks, of how they ended
        multiprocessing.set_start_method(
            "spawn", force=True
        )  # joblib's workers have one that their children don't know
        ranks = mp.spawn(_one_rank, (environment, first, work, job, letters), devices, join=False)
        with _passing_on_signals(ranks.pids) as received:
            try:
                while not ranks.join(grace_period=10):
                    pass
            except mp.ProcessExitedException as error:
                if not received:
                    raise UserError(_what_happened(error, first, letters)) from None
                if error.signal_name:
                    log.warning("%s ended the ranks where they could not stop by themselves", error.signal_name)
        if received:
            sys.exit(128 + received[0])
        if (status := Path(letters, "status")).exists():
            sys.exit(int(status.read_text()))


def _one_rank(
    local: int, environment: dict[str, str], first: int, work: Callable[[Any], None], job: Any, letters: str
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= environment | {"LOCAL_RANK": str(local), "RANK": str(first + local)}
    try:
        work(job if first + local == 0 else None)
    except SystemExit as end:  # a polite stop: the others are at it, too
        Path(letters, "status").write_text(str(end.code if isinstance(end.code, int) else 1))
    except BaseException as error:
        who = "" if isinstance(error, EXPECTED) else f"rank {first + local} failed:\n"
        Path(letters, str(local)).write_text(who + explain(error))
        sys.exit(1)


def _end_with_parent() -> None:
    """A rank whose parent is gone stops as politely as it can: during training with a checkpoint."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
    os._exit(1)


def _what_happened(error: Any, first: int, letters: str) -> str:
    """Of the rank that failed first; what the others met followed from that."""
    written = sorted(Path(letters).glob("[0-9]*"), key=lambda letter: letter.stat().st_mtime_ns)
    if written and not error.signal_name:
        return written[0].read_text()
    how = f"killed by {error.signal_name}" if error.signal_name else f"gone, with exit status {error.exit_code}"
    return f"rank {first + error.error_index} (process {error.error_pid}) was {how}; the others were ended"


@contextmanager
def _passing_on_signals(pids: Callable[[], list[int]]) -> Iterator[list[int]]:
    """Ranks stop together, with a checkpoint, when this process is asked to; yields the signals that came."""
    received: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        received.append(number)
        for pid in pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    try:
        before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    except ValueError:  # not in the main thread: somebody else's program
        before = {}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
