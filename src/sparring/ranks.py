"""Where a task runs: in this process, in ranks that are started here, or as a rank that torchrun or SLURM started.

However they were started, the first rank's configuration is everyone's. Nothing here imports torch until a task starts.
"""

import logging
import logging.config
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from sparring import checks, stored
from sparring.errors import UserError

log = logging.getLogger(__name__)
PATIENCE = timedelta(minutes=10)  # for a rank that is late; one that died is noticed at once
ON_RANKS = ("train", "evaluate", "benchmark")
TOLD = ("runtime", "overrides", "job", "job_logging")  # of what Hydra knows

Job = tuple[DictConfig, dict]  # the configuration, and Hydra's own


def start(cfg: DictConfig) -> None:
    """Do the task of a configuration on as many ranks as it asks for.

    Raises:
        UserError: the ranks can't be started as asked, or one of them failed; its error is told.
    """
    outside = started_outside()
    cfg.trainer.devices = devices_of(cfg, outside)
    stored.check_global_batch(cfg)
    hydra = HydraConfig.get()
    job = cfg, {part: OmegaConf.to_container(hydra[part], resolve=True) for part in TOLD}
    if outside is not None:
        os.environ |= outside
        be_a_rank(job)
    elif cfg.trainer.strategy != "ddp" and cfg.trainer.devices * cfg.trainer.num_nodes == 1:
        _do(job)
    else:
        _start_ranks(job, cfg.trainer.devices, cfg.trainer.num_nodes)


def started_outside() -> dict[str, str] | None:
    """PyTorch's names for this process's place among those that torchrun or srun started; None if neither did."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
        return {name: os.environ[name] for name in names if name in os.environ}
    if "SLURM_STEP_ID" not in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
        return None
    from lightning_fabric.plugins.environments import SLURMEnvironment

    tasks, nodes = int(os.environ["SLURM_STEP_NUM_TASKS"]), int(os.environ.get("SLURM_STEP_NUM_NODES", 1))
    first = SLURMEnvironment.resolve_root_node_address(os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1"))
    return {
        "RANK": os.environ["SLURM_PROCID"],
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "GROUP_RANK": os.environ["SLURM_NODEID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_WORLD_SIZE": str(tasks // nodes),
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", first),
        "MASTER_PORT": os.environ.get("MASTER_PORT", str(15000 + int(os.environ["SLURM_JOB_ID"]) % 10000)),
    }


def is_follower() -> bool:
    """Whether this process was started beside a first rank, which alone reads the command line."""
    outside = started_outside()
    return outside is not None and int(outside["RANK"]) > 0


def follow() -> None:
    """Be one of the ranks beside the first, whose job is told."""
    os.environ |= started_outside()
    try:
        be_a_rank(None)
    except UserError as error:
        raise UserError(f"rank {os.environ['RANK']}: {error}") from error


def devices_of(cfg: DictConfig, outside: dict[str, str] | None) -> int:
    """Processes on this machine. Raises UserError if it has not as many, or if others were started."""
    import torch

    trainer, gpus = cfg.trainer, torch.cuda.device_count()
    if trainer.accelerator == "gpu" and not gpus:
        raise UserError(
            "trainer.accelerator=gpu: PyTorch sees no CUDA GPU here. On CPUs: trainer=cpu, or trainer=ddp_cpu trainer.devices=2"
        )
    on_gpus = gpus > 0 and trainer.accelerator in ("gpu", "auto")
    if outside is not None:
        here, world = int(outside.get("LOCAL_WORLD_SIZE", 1)), int(outside["WORLD_SIZE"])
        devices = here if trainer.devices == "auto" else trainer.devices
        if devices * trainer.num_nodes != world or devices != here:
            raise UserError(
                f"trainer.devices={trainer.devices} trainer.num_nodes={trainer.num_nodes}: {world} processes were started, {here} on "
                f"this machine: say trainer={'ddp' if gpus else 'ddp_cpu'} trainer.devices={here} trainer.num_nodes={world // here}"
            )
        if world > 1 and HydraConfig.get().mode == RunMode.MULTIRUN and "submitit" not in _launcher():
            raise UserError("-m: each job of a sweep starts its own ranks; leave torchrun (srun) out")
    else:
        devices = (max(gpus, 1) if on_gpus else 1) if trainer.devices == "auto" else trainer.devices
    if on_gpus and devices > gpus:
        raise UserError(
            f"trainer.devices={devices}: PyTorch sees {gpus} of them here. (Under SLURM --gpus-per-task hides the others: "
            "use --gpus-per-node.) A run goes on with fewer if data.batch_size grows by as much."
        )
    many = devices * trainer.num_nodes > 1
    task = cfg.task._target_.rpartition(".")[2]
    if many and task not in ON_RANKS:
        raise UserError(f"trainer.devices={devices}: task={task} runs in one process; leave it out")
    if trainer.sync_batchnorm and not on_gpus:
        raise UserError("trainer.sync_batchnorm=true: PyTorch has synchronised batch norm on CUDA GPUs alone")
    return devices


def be_a_rank(job: Job | None) -> None:
    """Meet the others where the environment says (RANK, WORLD_SIZE, MASTER_ADDR ...) and do the first one's job."""
    import torch
    import torch.distributed as dist

    from sparring.distributed import tell

    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max((os.cpu_count() or 1) // here, 1))
    if on_gpus := torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=PATIENCE)
    job = tell(job)
    if dist.get_rank() > 0:  # what all of them would say, the first one says
        logging.getLogger().setLevel(logging.ERROR)
        logging.getLogger("sparring").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
    _do(job)
    dist.destroy_process_group()  # not after an error: others may be waiting for this rank, and it for them


def _do(job: Job) -> None:
    cfg, hydra = job
    if not HydraConfig.initialized():  # this process was not started by Hydra: it finds what the first one knows
        HydraConfig.instance().cfg = OmegaConf.create({"hydra": hydra})
    get_method(cfg.task._target_)(cfg, Path(hydra["runtime"]["output_dir"]))


# ---- ranks of our own -------------------------------------------------------------------------------------------


def _start_ranks(job: Job, devices: int, nodes: int) -> None:
    """One process a device; the first that fails takes the others down, and its error is told."""
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
    elif HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError(f"-m with trainer.num_nodes={nodes}: start each job with hydra/launcher=submitit_slurm")
    environment |= {"WORLD_SIZE": str(devices * nodes), "LOCAL_WORLD_SIZE": str(devices)}
    environment["GROUP_RANK"] = environment["NODE_RANK"]
    first = int(environment["NODE_RANK"]) * devices
    with tempfile.TemporaryDirectory() as letters:  # from the ranks, of how they ended
        ranks = mp.spawn(_one_rank, (environment, first, job, letters), devices, join=False)
        with _passing_on_signals(ranks.pids) as received:
            try:
                while not ranks.join(grace_period=10):
                    pass
            except mp.ProcessExitedException as error:
                if not received:
                    raise UserError(_what_happened(error, first, letters)) from None
                log.warning("%s ended the ranks where they could not stop by themselves", error.signal_name or "They")
        if received:
            sys.exit(128 + received[0])
        if (status := Path(letters, "status")).exists():
            sys.exit(int(status.read_text()))


def _one_rank(local: int, environment: dict[str, str], first: int, job: Job, letters: str) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= environment | {"LOCAL_RANK": str(local), "RANK": str(first + local)}
    if first + local == 0:
        logging.config.dictConfig(job[1]["job_logging"])
    try:
        be_a_rank(job if first + local == 0 else None)
    except SystemExit as end:  # a polite stop: the others are at it, too
        Path(letters, "status").write_text(str(end.code if isinstance(end.code, int) else 1))
    except checks.EXPECTED as error:
        Path(letters, str(local)).write_text(checks.explain(error))
        sys.exit(1)
    except BaseException:
        Path(letters, str(local)).write_text(f"rank {first + local} failed:\n{traceback.format_exc()}")
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


def _launcher() -> str:
    return str(HydraConfig.get().launcher.get("_target_", ""))
