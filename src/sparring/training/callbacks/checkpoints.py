"""Checkpoints that are whole or absent."""

import os
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch.utils._pytree import tree_leaves

from sparring.config.errors import UserError, describe_os_error, readable_size
from sparring.runs import console
from sparring.runs.store import numbered_checkpoints
from sparring.runs.wandb_run import WandbRun
from sparring.storage import tensor_files
from sparring.storage.files import atomic_write
from sparring.training.adversarial_module import AdversarialModule


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name, to the disk, then renames it.

    Raises:
        UserError: it can't be written; the message gives its size, the free space, and how to resume.
    """

    def save_checkpoint(self, checkpoint: dict, path, storage_options=None) -> None:
        path = Path(path)
        try:
            tensor_files.write(checkpoint, path)
        except OSError as error:
            tensors = [leaf for leaf in tree_leaves(checkpoint) if isinstance(leaf, torch.Tensor)]
            last, advice = path.with_name("last.ckpt"), "There is none before it."
            if last.is_file():
                resume = console.quoted_override("resume", path.parents[1])
                advice = f"{last} is whole. Then resume with: {console.program()} {resume}"
            raise UserError(
                f"{describe_os_error(error)}. This checkpoint takes {readable_size(sum(t.nbytes for t in tensors))}. "
                f"Make room for it there, or start with hydra.run.dir=DIR elsewhere. {advice}"
            ) from error


class Checkpoints(pl.Callback):
    """Writes ``kimg-0000016.000.ckpt`` every so many kimg, of which the newest are kept, and ``last.ckpt``.

    Args:
        folder: where they are written.
        every_kimg: thousands of images between two checkpoints.
        keep: how many numbered ones are kept.
        artifacts: upload each to the loggers that can store files (W&B), too.
    """

    def __init__(self, folder: Path, every_kimg: float, keep: int = 2, artifacts: bool = False):
        self.folder, self.every_kimg, self.keep, self.artifacts = folder, every_kimg, keep, artifacts

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if module.passed(self.every_kimg):
            self.save(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        if self._path(module) != module.last_checkpoint:
            self.save(trainer, module)

    def save(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        path = self._path(module)
        trainer.save_checkpoint(path)
        module.last_checkpoint = path
        if not trainer.is_global_zero:
            return
        with atomic_write(self.folder / "last.ckpt") as temporary:
            try:
                os.link(path, temporary)  # a second name for the same file: no second copy
            except OSError:  # a file system without hard links
                temporary.write_bytes(path.read_bytes())
        for old in numbered_checkpoints(self.folder)[: -self.keep]:
            old.unlink()
        if self.artifacts:
            for logger in trainer.loggers:
                if isinstance(logger, WandbRun):
                    logger.log_checkpoint(path)

    def _path(self, module: AdversarialModule) -> Path:
        return self.folder / f"kimg-{module.kimg:011.3f}.ckpt"
