"""A stop by a signal that loses nothing."""

import pytorch_lightning as pl

from sparring.distributed.signals import Stop
from sparring.training.adversarial_module import AdversarialModule


class GracefulStop(pl.Callback):
    """Ends training with a checkpoint after the current iteration if a signal asked any rank to stop.

    All ranks end after the same iteration. It is the trainer's first callback: the others read ``module.interrupted``.

    Args:
        stop: where signals are noted.
    """

    def __init__(self, stop: Stop):
        self.stop = stop

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.stop.training = True
        self.stop.listen()  # Lightning has set handlers of its own by now

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if self.stop.requested():
            module.interrupted = trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        if self.stop.requested(wait=True):
            module.interrupted = trainer.should_stop = True

    def on_fit_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.stop.training = True  # the last evaluation may be all that was left to do
