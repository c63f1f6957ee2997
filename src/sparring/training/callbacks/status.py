"""A run's ``status.json``: how far it has come."""

import time
from pathlib import Path

import pytorch_lightning as pl
import torch

from sparring.distributed import collectives
from sparring.runs import store
from sparring.training.adversarial_module import AdversarialModule


class Status(pl.Callback):
    """Writes ``status.json`` on the first rank: at the start, with every checkpoint, and when training fails.

    The task writes how the run ended, after the last evaluation.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._earlier_seconds, self._started = 0.0, 0.0
        self._checkpoint: Path | None = None  # the newest

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all sessions, evaluations included."""
        return round(self._earlier_seconds + time.monotonic() - self._started, 2)

    def on_fit_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._earlier_seconds = store.read_status(self.folder).get("seconds", 0.0)
        self._started = time.monotonic()
        device = trainer.strategy.root_device
        on_gpu = device.type == "cuda"
        name = torch.cuda.get_device_name(device) if on_gpu else f"CPU, {torch.get_num_threads()} threads"
        store.write_status(self.folder, "running", device=name, ranks=collectives.world_size())

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if module.last_checkpoint is not None and module.last_checkpoint != self._checkpoint:
            self._checkpoint = module.last_checkpoint
            self.mark("running", module, checkpoint=self._checkpoint.name)

    def on_train_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.on_train_batch_end(trainer, module)

    def on_exception(self, trainer: pl.Trainer, module: AdversarialModule, exception: BaseException) -> None:
        self.mark("failed", module)  # the task adds the reason

    def mark(self, state: store.State, module: AdversarialModule, **facts) -> None:
        """Write the state, the seconds, the iteration and kimg."""
        facts |= {"seconds": self.seconds, "iteration": module.iteration, "kimg": module.kimg}
        store.write_status(self.folder, state, **facts)
