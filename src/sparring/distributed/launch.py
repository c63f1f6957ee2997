"""Launch a task: in this process, in ranks started here, or as one of the ranks that torchrun or SLURM started.

The first rank's configuration is used by all ranks. Nothing here imports torch until a task starts.
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
from sparring.config.values import task_of
from sparring.distributed import spawn
from sparring.distributed.cluster_environment import cluster_environment

TIMEOUT = timedelta(minutes=10)  # for a late rank; a rank that died is noticed at once
ON_RANKS = ("train", "evaluate", "benchmark")  # tasks that may run on several
HYDRA_PARTS = ("runtime", "overrides", "job", "job_logging")  # of Hydra's own configuration, for the other ranks

Job = tuple[DictConfig, dict]  # the configuration, and Hydra's own


def start(cfg: DictConfig, check: Callable[[DictConfig], None], on_failure: Callable[[Path, str], None]) -> None:
    """Run the task of a configuration on as many ranks as it asks for.

    Args:
        cfg: the experiment; ``trainer.devices`` becomes the number of ranks on this machine.
        check: called once that number is known, before any rank starts; may raise UserError.
        on_failure: called with the run's folder and the error when ranks that were started here fail.

    Raises:
        UserError: the ranks can't be started, or one of them failed: its error.
    """
    environment = cluster_environment()
    cfg.trainer.devices = devices_of(cfg, environment)
    check(cfg)
    hydra = HydraConfig.get()
    job = cfg, {part: OmegaConf.to_container(getattr(hydra, part), resolve=True) for part in HYDRA_PARTS}
    if environment is not None:
        os.environ |= environment
        run_rank(job)
    elif cfg.trainer.strategy != "ddp" and cfg.trainer.devices * cfg.trainer.num_nodes == 1:
        _run_task(job)
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


def is_follower() -> bool:
    """Return True if torchrun or SLURM started this process as another than the first rank, which reads the command."""
    environment = cluster_environment()
    return environment is not None and int(environment["RANK"]) > 0


def follow() -> None:
    """Run as a follower: receive the job from the first rank and take part in it."""
    os.environ |= cluster_environment() or {}
    try:
        run_rank(None)
    except UserError as error:
        raise UserError(f"rank {os.environ['RANK']}: {error}") from error


def devices_of(cfg: DictConfig, environment: dict[str, str] | None) -> int:
    """Return the number of ranks on this machine.

    Raise UserError if it lacks the devices, or if torchrun or SLURM (``cluster_environment()``) started other ranks.
    """
    import torch

    trainer, gpus, cores = cfg.trainer, torch.cuda.device_count(), os.cpu_count() or 1
    if trainer.accelerator == "gpu" and not gpus:
        raise UserError(
            "trainer.accelerator=gpu: PyTorch sees no CUDA GPU here. "
            "On CPUs: trainer=cpu, or trainer=ddp_cpu trainer.devices=2"
        )
    on_gpus = gpus > 0 and trainer.accelerator in ("gpu", "auto")
    if environment is None:
        devices = (gpus if on_gpus else 1) if trainer.devices == "auto" else trainer.devices
        if not on_gpus and devices > (most := max(4 * cores, 8)):
            raise UserError(f"trainer.devices={devices}: ranks on the CPU share {cores} cores; at most {most} ranks")
    else:
        here, world = int(environment.get("LOCAL_WORLD_SIZE", 1)), int(environment["WORLD_SIZE"])
        devices = here if trainer.devices == "auto" else trainer.devices
        if devices * trainer.num_nodes != world or devices != here:
            raise UserError(
                f"trainer.devices={trainer.devices} trainer.num_nodes={trainer.num_nodes}: {world} processes were "
                f"started, {here} on this machine: say trainer={'ddp' if gpus else 'ddp_cpu'} trainer.devices={here} "
                f"trainer.num_nodes={world // here}"
            )
        if world > 1 and HydraConfig.get().mode == RunMode.MULTIRUN and "submitit" not in _hydra_launcher():
            raise UserError("-m: each job of a sweep starts its own ranks; leave torchrun (srun) out")
    if on_gpus and devices > gpus:
        raise UserError(
            f"trainer.devices={devices}: PyTorch sees {gpus} GPUs here. (Under SLURM --gpus-per-task hides the others: "
            "use --gpus-per-node.) A run can resume on fewer if data.batch_size grows by as much."
        )
    task = task_of(cfg)
    if devices * trainer.num_nodes > 1 and task not in ON_RANKS:
        raise UserError(f"trainer.devices={devices}: task={task} runs in one process; leave it out")
    if trainer.sync_batchnorm and not on_gpus:
        raise UserError("trainer.sync_batchnorm=true: PyTorch has synchronised batch norm on CUDA GPUs alone")
    return devices


def run_rank(job: Job | None) -> None:
    """Join the other ranks as the environment says (RANK, WORLD_SIZE, MASTER_ADDR ...) and run the first one's job."""
    import torch
    import torch.distributed as dist

    from sparring.distributed.collectives import broadcast_object

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max((os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1))
    if on_gpus := torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=TIMEOUT)
    first_job: Job = broadcast_object(job)
    if dist.get_rank() > 0:  # the first rank reports what all ranks would
        for name in (None, "sparring"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
    _run_task(first_job)
    dist.destroy_process_group()  # not after an error: ranks would wait for each other


def _run_task(job: Job) -> None:
    cfg, hydra = job
    if not HydraConfig.initialized():  # Hydra did not start this process: give it what the first one knows
        HydraConfig.instance().cfg = OmegaConf.create({"hydra": hydra})  # pyright: ignore[reportAttributeAccessIssue]
        if os.environ["RANK"] == "0":
            logging.config.dictConfig(hydra["job_logging"])
    with memory.explain_exhaustion():
        get_method(cfg.task._target_)(cfg, Path(hydra["runtime"]["output_dir"]))


def _hydra_launcher() -> str:
    return str(HydraConfig.get().launcher.get("_target_", ""))
