"""How far a run has come, beside it in ``status.json``."""

import time
from pathlib import Path

import pytorch_lightning as pl
import torch

from sparring import distributed, runs
from sparring.adversarial import AdversarialModule
from sparring.errors import UserError


class Status(pl.Callback):
    """Keeps ``status.json`` of the first rank: at the start, with every checkpoint, and when training fails or is stopped.

    That all is done is for the task to say, after the last evaluation.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._before, self._started = 0.0, 0.0

    @property
    def seconds(self) -> float:
        """On the clock in all sessions, evaluations and all."""
        return round(self._before + time.monotonic() - self._started, 2)

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._before, self._started = runs.status(self.folder).get("seconds", 0.0), time.monotonic()
        device = trainer.strategy.root_device
        on_gpu = device.type == "cuda"
        name = torch.cuda.get_device_name(device) if on_gpu else f"CPU, {torch.get_num_threads()} threads"
        runs.mark(self.folder, "running", device=name, ranks=distributed.world_size())

    def on_save_checkpoint(self, trainer: pl.Trainer, module: AdversarialModule, checkpoint: dict) -> None:
        self.mark("running", module)

    def on_train_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        if module.interrupted:
            self.mark("stopped", module)

    def on_exception(self, trainer: pl.Trainer, module: AdversarialModule, exception: BaseException) -> None:
        error = str(exception) if isinstance(exception, UserError) else f"{type(exception).__name__}: {exception}"
        self.mark("failed", module, error=error)

    def mark(self, state: runs.State, module: AdversarialModule, **facts) -> None:
        """Write down the state, the time, and where the run's clock stands."""
        facts |= {"seconds": self.seconds, "iteration": module.iteration, "kimg": module.kimg}
        runs.mark(self.folder, state, **facts)
