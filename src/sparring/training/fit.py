"""The training of a module in a run's folder, with everything that is recorded of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.plugins.environments import TorchElasticEnvironment  # pyright: ignore[reportPrivateImportUsage]
from pytorch_lightning.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler

from sparring.config import memory
from sparring.config.errors import UserError
from sparring.config.instantiate import build
from sparring.config.resolvers import folder_name
from sparring.data.dataset import Data
from sparring.distributed import collectives
from sparring.distributed.signals import Stop
from sparring.distributed.strategy import UnwrappedDDPStrategy
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.references import choose_references
from sparring.runs.metrics_file import MetricsFile
from sparring.runs.wandb_run import WandbRun
from sparring.training.adversarial_module import AdversarialModule
from sparring.training.callbacks.checkpoints import AtomicCheckpointIO, Checkpoints
from sparring.training.callbacks.graceful_stop import GracefulStop
from sparring.training.callbacks.health import Health
from sparring.training.callbacks.progress import Progress
from sparring.training.callbacks.sample_grids import SampleGrids
from sparring.training.callbacks.scores import Scores
from sparring.training.callbacks.status import Status

PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


@dataclass(frozen=True)
class Fitted:
    """What training leaves: its clock, the newest grid, and the last entry of ``scores.json``, if there are scores."""

    status: Status
    samples: Path | None
    scores: dict | None


def fit(
    cfg: DictConfig,
    folder: Path,
    module: AdversarialModule,
    data: Data,
    evaluator: Evaluator | None,
    stop: Stop,
    iterations: int,
    checkpoint: Path | None,
    start: int,
) -> Fitted:
    """Train until ``iterations`` or a signal, on every rank. The first rank alone writes files and messages.

    Args:
        cfg: the run's configuration.
        folder: where it is recorded.
        module: the engine.
        data: what it is trained and scored on.
        evaluator: what scores it, or None.
        stop: where signals are noted.
        iterations: in all, those of earlier sessions included.
        checkpoint: to resume from, or None.
        start: the iteration of the checkpoint, 0 without.

    Raises:
        UserError: the checkpoint is of another model.
    """
    is_first = collectives.rank() == 0
    wandb_run = build_wandb(cfg, folder, evaluator) if is_first else None
    artifacts = bool(wandb_run and cfg.logger.log_checkpoints)
    shown = {"batch_norm": cfg.ema.batch_norm, "seed": cfg.seed}  # the same in grids and for scores
    grids, status = SampleGrids(folder / "samples", **cfg.grid, **shown), Status(folder)
    scores = None
    if evaluator:
        references = choose_references(cfg, data, module.game.translates)
        scores = Scores(evaluator, references, folder, cfg.cache, **shown)
    callbacks = [
        GracefulStop(stop),  # first of all: the others ask whether training is interrupted
        Checkpoints(folder / "checkpoints", **cfg.checkpoint, artifacts=artifacts),  # before what takes long
        is_first and status,
        is_first and Health(),
        scores,
        is_first and grids,
        is_first and Progress(),
    ]
    loggers = [is_first and MetricsFile(folder / "metrics.csv", start), wandb_run]
    trainer = build_trainer(cfg, iterations, list(filter(None, loggers)), list(filter(None, callbacks)), folder)
    failed = True
    try:
        if wandb_run:
            wandb_run.start()
        with _naming_checkpoint(checkpoint, module), memory.explain_exhaustion():
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
        failed = False
    finally:
        if wandb_run:
            wandb_run.finish(failed)
    collectives.barrier()  # to torchrun and srun the first exit is the end; the first rank may still be writing
    return Fitted(status, grids.latest, scores.latest if scores else None)


@contextmanager
def _naming_checkpoint(checkpoint: Path | None, module: AdversarialModule) -> Iterator[None]:
    """Turn any error while Lightning loads a checkpoint into a UserError that names the file and what differs."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not module.restoring:
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"{checkpoint}: is not of this model ({type(error).__name__}: {' '.join(lines[:4])[:600]})"
        ) from error


def build_wandb(cfg: DictConfig, folder: Path, evaluator: Evaluator | None) -> WandbRun | None:
    """Return the W&B logger, its run named and grouped after the overrides; None without a logger."""
    if not cfg.logger:
        return None
    overrides = list(OmegaConf.load(folder / "overrides.yaml"))
    varied = [override for override in overrides if not override.startswith("seed=")]
    parts = ("scores", f"scores_{evaluator.samples_during}") if evaluator else ()
    return build(cfg.logger, "logger", partial=True)(
        folder=folder,
        config=OmegaConf.to_container(cfg, resolve=True),
        lower_is_better=[f"{part}/{score}" for score in evaluator.lower_is_better for part in parts]
        if evaluator
        else [],
        name=cfg.logger.name or folder_name(overrides),
        group=cfg.logger.group or folder_name(varied),
    )


def build_trainer(cfg: DictConfig, iterations: int, loggers: list, callbacks: list, folder: Path) -> pl.Trainer:
    """Return Lightning's trainer, without what the engine and its callbacks do themselves."""
    profiler = None
    if cfg.trainer.profiler and collectives.rank() == 0:
        profiler = PROFILERS[cfg.trainer.profiler](dirpath=folder, filename="profile")
    many = torch.distributed.is_initialized()
    return pl.Trainer(
        accelerator=cfg.trainer.accelerator,
        devices=cfg.trainer.devices,
        num_nodes=cfg.trainer.num_nodes,
        strategy=UnwrappedDDPStrategy() if many else "auto",
        precision=cfg.trainer.precision,
        max_steps=iterations,
        max_epochs=-1,
        logger=loggers or False,
        callbacks=callbacks,
        profiler=profiler,
        benchmark=True,  # cuDNN tries its kernels on the sizes at hand, which stay the same
        plugins=[AtomicCheckpointIO(), *([TorchElasticEnvironment()] if many else [])],
        enable_checkpointing=False,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        default_root_dir=folder,
    )
