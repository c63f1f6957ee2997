"""Lightning's DDP strategy without a wrapper around the networks."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy

from sparring.distributed.collectives import barrier, broadcast


class UnwrappedDDPStrategy(DDPStrategy):
    """Data-parallel training of modules whose networks take turns.

    Lightning places processes and devices and stores checkpoints. The engine averages the gradients: it calls
    ``collectives.average_gradients`` between a turn's last backward pass and its clipping.
    """

    def setup(self, trainer: pl.Trainer) -> None:
        super().setup(trainer)
        # Lightning has no public switch for this: in each iteration it waits for the device to agree on a SIGTERM.
        # ``signals.Stop`` agrees without waiting.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None

    def configure_ddp(self) -> None:
        """Start every rank with the parameters and buffers of the first one."""
        assert self.model is not None
        broadcast([*self.model.parameters(), *self.model.buffers()])

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        barrier()
