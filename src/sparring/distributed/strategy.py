"""Lightning's data-parallel strategy, for modules whose networks take turns."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy

from sparring.distributed.collectives import barrier, broadcast


class Replicas(DDPStrategy):
    """Data-parallel training of modules whose networks take turns.

    Lightning's place in it: processes, devices and checkpoints. The gradients are the engine's, which calls
    ``average_gradients`` between a turn's last backward and its clipping.
    """

    def setup(self, trainer: pl.Trainer) -> None:
        super().setup(trainer)
        # In every iteration Lightning would wait for the device to agree on a SIGTERM; GracefulStop agrees without.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None

    def configure_ddp(self) -> None:
        """In place of a wrapper: every rank starts with the first one's parameters and buffers."""
        broadcast([*self.model.parameters(), *self.model.buffers()])

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        barrier()
