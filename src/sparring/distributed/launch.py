"""Where a task runs: in this process, in ranks that are started here, or as a rank that torchrun or SLURM started.

However they were started, the first rank's configuration is everyone's. Nothing here imports torch until a task starts.
"""

import logging
import logging.config
import os
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from sparring.config import memory
from sparring.config.errors import UserError
from sparring.distributed import spawn

PATIENCE = timedelta(minutes=10)  # for a rank that is late; one that died is noticed at once
ON_RANKS = ("train", "evaluate", "benchmark")
TOLD = ("runtime", "overrides", "job", "job_logging")  # of what Hydra knows

Job = tuple[DictConfig, dict]  # the configuration, and Hydra's own


def start(cfg: DictConfig, check: Callable[[DictConfig], None], on_failure: Callable[[Path, str], None]) -> None:
    """Run the task of a configuration on as many ranks as it asks for.

    Args:
        cfg: the experiment; ``trainer.devices`` becomes the number of ranks on this machine.
        check: called once that number is known, before any rank starts; may raise UserError.
        on_failure: called with the run's folder and the error when ranks that were started here fail.

    Raises:
        UserError: the ranks can't be started as asked, or one of them failed: its error.
    """
    outside = started_outside()
    cfg.trainer.devices = devices_of(cfg, outside)
    check(cfg)
    hydra = HydraConfig.get()
    job = cfg, {part: OmegaConf.to_container(hydra[part], resolve=True) for part in TOLD}
    if outside is not None:
        os.environ |= outside
        run_rank(job)
    elif cfg.trainer.strategy != "ddp" and cfg.trainer.devices * cfg.trainer.num_nodes == 1:
        _do(job)
    elif cfg.trainer.num_nodes > 1 and hydra.mode == RunMode.MULTIRUN:
        raise UserError(
            f"-m with trainer.num_nodes={cfg.trainer.num_nodes}: start each job with hydra/launcher=submitit_slurm"
        )
    else:
        try:
            spawn.start(run_rank, job, cfg.trainer.devices, cfg.trainer.num_nodes)
        except UserError as error:
            on_failure(Path(hydra.runtime.output_dir), str(error))
            raise


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
        run_rank(None)
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
        if world > 1 and HydraConfig.get().mode == RunMode.MULTIRUN and "submitit" not in _hydras_launcher():
            raise UserError("-m: each job of a sweep starts its own ranks; leave torchrun (srun) out")
    else:
        devices = (max(gpus, 1) if on_gpus else 1) if trainer.devices == "auto" else trainer.devices
    if on_gpus and devices > gpus:
        raise UserError(
            f"trainer.devices={devices}: PyTorch sees {gpus} of them here. (Under SLURM --gpus-per-task hides the others: "
            "use --gpus-per-node.) A run goes on with fewer if data.batch_size grows by as much."
        )
    if not on_gpus and outside is None and devices > (most := max(4 * (os.cpu_count() or 1), 8)):
        raise UserError(
            f"trainer.devices={devices}: ranks on the CPU share {os.cpu_count()} cores; at most {most} of them"
        )
    many = devices * trainer.num_nodes > 1
    task = cfg.task._target_.rpartition(".")[2]
    if many and task not in ON_RANKS:
        raise UserError(f"trainer.devices={devices}: task={task} runs in one process; leave it out")
    if trainer.sync_batchnorm and not on_gpus:
        raise UserError("trainer.sync_batchnorm=true: PyTorch has synchronised batch norm on CUDA GPUs alone")
    return devices


def run_rank(job: Job | None) -> None:
    """Meet the others where the environment says (RANK, WORLD_SIZE, MASTER_ADDR ...) and do the first one's job."""
    import torch
    import torch.distributed as dist

    from sparring.distributed.collectives import broadcast_object

    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max((os.cpu_count() or 1) // here, 1))
    if on_gpus := torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=PATIENCE)
    job = broadcast_object(job)
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
        if os.environ["RANK"] == "0":
            logging.config.dictConfig(hydra["job_logging"])
    with memory.explain_exhaustion():
        get_method(cfg.task._target_)(cfg, Path(hydra["runtime"]["output_dir"]))


def _hydras_launcher() -> str:
    return str(HydraConfig.get().launcher.get("_target_", ""))
