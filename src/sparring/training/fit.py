"""The training of a module in a run's folder, with everything that is recorded of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.plugins.environments import TorchElasticEnvironment

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
from sparring.training.build import sampler_settings
from sparring.training.callbacks.checkpoints import AtomicCheckpointIO, Checkpoints
from sparring.training.callbacks.graceful_stop import GracefulStop
from sparring.training.callbacks.health import Health
from sparring.training.callbacks.progress import Progress
from sparring.training.callbacks.sample_grids import SampleGrids
from sparring.training.callbacks.scores import Scores
from sparring.training.callbacks.status import Status


@dataclass(frozen=True)
class Ended:
    """How training ended: its clock, the newest grid, and the last entry of ``scores.json`` where there is an evaluation."""

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
    begun: int,
) -> Ended:
    """Train until ``iterations`` or a signal, on every rank; the first one alone writes and speaks.

    Args:
        cfg: the run's configuration.
        folder: where it is recorded.
        module: what is trained on ``data``.
        evaluator: what scores it, if anything.
        stop: where signals are noted.
        iterations: in all, those of earlier sessions included.
        checkpoint: to go on from, if any, at the iteration ``begun``.

    Raises:
        UserError: the checkpoint is of another model.
    """
    first = collectives.rank() == 0
    wandb_run = build_wandb(cfg, folder, evaluator) if first else None
    artifacts = bool(wandb_run and cfg.logger.log_checkpoints)
    references = choose_references(cfg, data, module.game.translates)
    scores = evaluator and Scores(evaluator, references, folder, cfg.cache, **sampler_settings(cfg))
    grids, status = SampleGrids(folder / "samples", **cfg.grid, **sampler_settings(cfg)), Status(folder)
    callbacks = [
        GracefulStop(stop),  # first of all: the others ask whether training is interrupted
        Checkpoints(folder / "checkpoints", **cfg.checkpoint, artifacts=artifacts),  # before what takes long
        first and status,
        first and Health(),
        scores,
        first and grids,
        first and Progress(),
    ]
    loggers = [first and MetricsFile(folder / "metrics.csv", begun), wandb_run]
    trainer = build_trainer(cfg, iterations, list(filter(None, loggers)), list(filter(None, callbacks)), folder)
    failed = True
    try:
        if wandb_run:
            wandb_run.start()
        with _restoring(trainer, checkpoint):
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
        failed = False
    finally:
        if wandb_run:
            wandb_run.finish(failed)
    collectives.barrier()  # to torchrun and srun the first exit is the end; the first rank may still be writing
    return Ended(status, grids.latest, scores.latest if scores else None)


@contextmanager
def _restoring(trainer: pl.Trainer, checkpoint: Path | None) -> Iterator[None]:
    """What fails while a checkpoint is put in, of whatever kind, becomes a UserError that names the file and what differs."""
    try:
        with memory.explain_exhaustion():
            yield
    except Exception as error:
        # Lightning holds what it has read until all of it is in its place
        if isinstance(error, UserError) or not trainer._checkpoint_connector._loaded_checkpoint:
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"{checkpoint}: is not of this model ({type(error).__name__}: {' '.join(lines[:4])[:600]})"
        ) from error


def build_wandb(cfg: DictConfig, folder: Path, evaluator: Evaluator | None) -> WandbRun | None:
    if not cfg.logger:
        return None
    overrides = list(OmegaConf.load(folder / "overrides.yaml"))
    varied = [override for override in overrides if not override.startswith("seed=")]
    return build(cfg.logger, "logger", partial=True)(
        folder=folder,
        config=OmegaConf.to_container(cfg, resolve=True),
        lower_is_better=[
            f"{part}/{score}"
            for score in (evaluator.lower_is_better if evaluator else ())
            for part in ("scores", f"scores_{evaluator.samples_during}")
        ],
        name=cfg.logger.name or folder_name(overrides),
        group=cfg.logger.group or folder_name(varied),
    )


def build_trainer(cfg: DictConfig, iterations: int, loggers: list, callbacks: list, folder: Path) -> pl.Trainer:
    """Lightning's trainer, told to keep out of what the engine and its callbacks do."""
    profilers = {"simple": pl.profilers.SimpleProfiler, "advanced": pl.profilers.AdvancedProfiler}
    profilers["pytorch"] = pl.profilers.PyTorchProfiler
    profiler = (
        collectives.rank() == 0
        and cfg.trainer.profiler
        and profilers[cfg.trainer.profiler](dirpath=folder, filename="profile")
    )
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
        profiler=profiler or None,
        benchmark=True,  # cuDNN tries its kernels on the sizes at hand, which stay the same
        plugins=[AtomicCheckpointIO(), *([TorchElasticEnvironment()] if many else [])],
        enable_checkpointing=False,
        enable_progress_bar=any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        default_root_dir=folder,
    )
