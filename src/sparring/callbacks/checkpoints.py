"""Checkpoints that are whole or absent, and a stop that loses nothing."""

import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from sparring.adversarial import AdversarialModule
from sparring.distributed import Largest
from sparring.files import replacing

log = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes under a temporary name, to the disk, then renames."""

    def save_checkpoint(self, checkpoint: dict, path, storage_options=None) -> None:
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)


class Checkpoints(pl.Callback):
    """``last.ckpt``, and ``kimg-0000016.000.ckpt`` every so many kimg, of which the newest are kept.

    Args:
        folder: where they are written.
        every_kimg: thousands of images between two checkpoints.
        keep: how many numbered ones are kept.
        artifacts: also upload each to the loggers that can (W&B).
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
        with replacing(self.folder / "last.ckpt") as temporary:
            try:
                os.link(path, temporary)  # a second name for the same file: no second copy
            except OSError:  # a file system without hard links
                temporary.write_bytes(path.read_bytes())
        for old in numbered(self.folder)[: -self.keep]:
            old.unlink()
        if self.artifacts:
            for logger in trainer.loggers:
                if hasattr(logger, "log_checkpoint"):
                    logger.log_checkpoint(path)

    def _path(self, module: AdversarialModule) -> Path:
        return self.folder / f"kimg-{module.kimg:011.3f}.ckpt"


def numbered(folder: Path) -> list[Path]:
    """The checkpoints every N kimg, oldest first."""
    return sorted(folder.glob("kimg-*.ckpt"))


class GracefulStop(pl.Callback):
    """SIGTERM, SIGINT and SIGUSR1 end training after the current iteration, with a checkpoint; a second SIGINT at once.

    Of many ranks it takes one that is asked: all stop after the same iteration, the next one. ``signal`` holds the signal that was received, None if there was none. The handlers are set when training starts:
    Lightning chains its own onto those that it finds earlier.
    """

    signals = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]

    def __init__(self):
        self.signal: int | None = None
        self._anyone = Largest()
        self._previous: dict[int, object] = {}

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        def note(number: int, _) -> None:
            now = time.monotonic()
            if self.signal == number == signal.SIGINT and now > self._since + 1:
                raise KeyboardInterrupt
            if self.signal is None:
                self._since = (
                    now  # one Ctrl-C comes several times at once: from the terminal, and from who started this
                )
                name = signal.Signals(number).name
                log.warning("%s received: training stops after this iteration, with a checkpoint", name)
            self.signal = number

        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, note) for number in self.signals}

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        self._end(trainer, module, self._anyone(self.signal or 0))

    def on_train_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._end(trainer, module, max(self._anyone(self.signal or 0), self._anyone.told()))

    def _end(self, trainer: pl.Trainer, module: AdversarialModule, asked: int) -> None:
        if asked:
            if self.signal is None and trainer.is_global_zero:
                log.warning("another rank received %s: all stop, with a checkpoint", signal.Signals(asked).name)
            self.signal, module.interrupted, trainer.should_stop = asked, True, True

    def teardown(self, trainer: pl.Trainer, module: AdversarialModule, stage: str) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())
