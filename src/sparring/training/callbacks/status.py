"""How far a run has come, beside it in ``status.json``."""

import time
from pathlib import Path

import pytorch_lightning as pl
import torch

from sparring.distributed import collectives
from sparring.runs import store
from sparring.training.adversarial_module import AdversarialModule


class Status(pl.Callback):
    """Keeps ``status.json`` of the first rank: at the start, with every checkpoint, and when training fails.

    How it ended is for the task to say, after the last evaluation.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._before, self._started = 0.0, 0.0
        self._known: Path | None = None  # the newest checkpoint

    @property
    def seconds(self) -> float:
        """On the clock in all sessions, evaluations and all."""
        return round(self._before + time.monotonic() - self._started, 2)

    def on_fit_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._before, self._started = store.read_status(self.folder).get("seconds", 0.0), time.monotonic()
        device = trainer.strategy.root_device
        on_gpu = device.type == "cuda"
        name = torch.cuda.get_device_name(device) if on_gpu else f"CPU, {torch.get_num_threads()} threads"
        store.write_status(self.folder, "running", device=name, ranks=collectives.world_size())

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if module.last_checkpoint != self._known:  # it is whole by now
            self._known = module.last_checkpoint
            self.mark("running", module, checkpoint=self._known.name)

    def on_train_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.on_train_batch_end(trainer, module)

    def on_exception(self, trainer: pl.Trainer, module: AdversarialModule, exception: BaseException) -> None:
        self.mark("failed", module)  # of what, the task says

    def mark(self, state: store.State, module: AdversarialModule, **facts) -> None:
        """Write down the state, the time, and where the run's clock stands."""
        facts |= {"seconds": self.seconds, "iteration": module.iteration, "kimg": module.kimg}
        store.write_status(self.folder, state, **facts)
