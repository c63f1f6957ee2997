"""A stop that loses nothing."""

import pytorch_lightning as pl

from sparring.distributed.signals import Stop
from sparring.training.adversarial_module import AdversarialModule


class GracefulStop(pl.Callback):
    """Ends training after the current iteration if a rank was asked to stop, with a checkpoint: all ranks after the same one.

    The first callback of the trainer, so that the others know.

    Args:
        stop: where signals are noted.
    """

    def __init__(self, stop: Stop):
        self.stop = stop

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.stop.training = True
        self.stop.listen()  # Lightning has handlers of its own by now

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        self._end(trainer, module, self.stop.requested())

    def on_train_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._end(trainer, module, self.stop.requested(wait=True))

    def on_fit_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self.stop.training = True  # the last evaluation may be all that was left to do

    @staticmethod
    def _end(trainer: pl.Trainer, module: AdversarialModule, asked: bool) -> None:
        if asked:
            module.interrupted = trainer.should_stop = True
