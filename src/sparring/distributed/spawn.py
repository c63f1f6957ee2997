"""Start the ranks of one machine as processes that stop together and fail together.

``torch.distributed.launcher.elastic_launch`` would not make this shorter: it passes on no second signal and no SIGUSR1,
counts a rank's exit status as a failure, and ranks would still have to report errors and watch their parent.
"""

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sparring.config.errors import UserError
from sparring.config.messages import EXPECTED, explain

log = logging.getLogger(__name__)


def start(work: Callable[[Any], None], job: Any, devices: int, nodes: int) -> None:
    """Call ``work(job)`` in the first rank and ``work(None)`` in the others, and wait for all of them.

    A rank that fails ends the others. Signals are passed on to the ranks, which find their place in the environment,
    under PyTorch's names. Call this on each of the ``nodes``, with the number of its ``devices``.

    Raises:
        UserError: the environment names no first node, or a rank failed (the text of the first error).
        SystemExit: the ranks stopped after a signal.
    """
    from torch.multiprocessing.spawn import ProcessExitedException, spawn

    from sparring.distributed.signals import SIGNALS, set_handlers

    environment, store = _environment(devices, nodes)  # the store is open while this name holds it
    first_rank = int(environment["NODE_RANK"]) * devices
    received: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        reports = Path(folder)
        multiprocessing.set_start_method("spawn", force=True)  # joblib's workers have one that their children lack
        ranks = spawn(_run_rank, (environment, first_rank, work, job, reports), devices, join=False)
        assert ranks is not None

        def pass_on(number: int, _: Any) -> None:
            received.append(number)
            for pid in ranks.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

        former_handlers = set_handlers(dict.fromkeys(SIGNALS, pass_on))
        try:
            while not ranks.join(grace_period=10):
                pass
        except ProcessExitedException as error:
            if not received:
                raise UserError(_describe_failure(error, first_rank, reports)) from None
            if error.signal_name:
                log.warning("%s ended ranks that did not stop in time", error.signal_name)
        finally:
            set_handlers(former_handlers)
        if received:
            sys.exit(128 + received[0])
        if (status := reports / "status").exists():
            sys.exit(int(status.read_text()))


def _environment(devices: int, nodes: int) -> tuple[dict[str, str], Any]:
    """Return what ``torch.distributed`` reads from the environment of all ranks here, and the store they meet in."""
    store, names = None, ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    if nodes == 1:  # this process holds the store, so that no free port has to be guessed
        from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

        store = TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)
        environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "NODE_RANK": "0"}
        environment["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    elif missing := [name for name in names if name not in environment]:
        raise UserError(
            f"trainer.num_nodes={nodes}: {', '.join(missing)} must be set. Run this command on every node with "
            "MASTER_ADDR (the first node's address), MASTER_PORT (the same free port) and NODE_RANK (0, 1, ...), "
            "or start it with torchrun or srun."
        )
    environment |= {"WORLD_SIZE": str(devices * nodes), "LOCAL_WORLD_SIZE": str(devices)}
    return environment | {"GROUP_RANK": environment["NODE_RANK"]}, store


def _run_rank(
    local_rank: int, environment: dict[str, str], first_rank: int, work: Callable[[Any], None], job: Any, reports: Path
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    rank = first_rank + local_rank
    os.environ |= environment | {"LOCAL_RANK": str(local_rank), "RANK": str(rank)}
    try:
        work(job if rank == 0 else None)
    except SystemExit as end:  # a requested stop: all ranks stop
        (reports / "status").write_text(str(end.code if isinstance(end.code, int) else 1))
    except BaseException as error:
        origin = "" if isinstance(error, EXPECTED) else f"rank {rank} failed:\n"
        (reports / f"error-{rank}").write_text(origin + explain(error))
        sys.exit(1)


def _end_with_parent() -> None:
    """Stop this rank when its parent is gone; during training with a checkpoint."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
    os._exit(1)


def _describe_failure(error: Any, first_rank: int, reports: Path) -> str:
    """Return the first error that a rank reported (others follow from it), or how a rank ended that reported none."""
    errors = sorted(reports.glob("error-*"), key=lambda path: path.stat().st_mtime_ns)
    if errors and not error.signal_name:
        return errors[0].read_text()
    how = f"killed by {error.signal_name}" if error.signal_name else f"gone, with exit status {error.exit_code}"
    return f"rank {first_rank + error.error_index} (process {error.error_pid}) was {how}; the others were ended"
