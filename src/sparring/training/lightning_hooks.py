"""What Lightning and its callbacks ask of the engine: optimizers, batches, checkpoints, rows of the log."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor

from sparring.config.errors import TrainingDiverged
from sparring.data.batches import Batch, Batches
from sparring.distributed.collectives import broadcast
from sparring.evaluation.sampler import BatchNormPolicy, Sampler
from sparring.games.clock import Clock
from sparring.games.game import Game
from sparring.randomness import seed_layers
from sparring.runs.wandb_run import WandbRun
from sparring.training.cuda_graphs import CudaGraphs, RecordedClock, RecordedIterations
from sparring.training.ema import EMA
from sparring.training.optimizers import PlayerOptimizer, set_capturable
from sparring.training.running_means import RunningMeans, Speed


class LightningHooks(pl.LightningModule, ABC):
    """A LightningModule of a game, without the iteration itself.

    Args:
        game: who plays and for what.
        batches: the stream of real data.
        optimizers: one for each player.
        ema: the running average of the game's producer.
        n_dis: turns of the first player an iteration.
        reuse_fakes: make the fakes once an iteration, for both turns (two players, ``n_dis`` 1, ``accumulate`` 1).
        accumulate: micro-batches into which each turn's batch is divided, to save memory.
        seed: decides every draw.
        log_every: iterations between two rows of the log.
        num_classes: labels of the data, 0 without.
        held_out: columns that nobody is trained on, for scores and for the inputs of a game that translates.
        cuda_graph: record iterations as CUDA graphs and replay them (one process; optimizers that are ``capturable``).
    """

    run_iteration: Callable[[dict[str, list[Batch]]], None]

    def __init__(
        self,
        game: Game,
        batches: Batches,
        optimizers: Mapping[str, PlayerOptimizer],
        ema: EMA,
        n_dis: int = 1,
        reuse_fakes: bool = False,
        accumulate: int = 1,
        seed: int = 0,
        log_every: int = 50,
        num_classes: int = 0,
        held_out: Batch | None = None,
        cuda_graph: bool = False,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.game = game
        self.ema = ema
        self.batches = batches
        self.player_optimizers = optimizers
        self.turns = {player: n_dis if i == 0 else 1 for i, player in enumerate(game.players)}
        self.reuse_fakes = reuse_fakes
        self.accumulate = accumulate
        self.seed = seed
        self.log_every = log_every
        self.num_classes = num_classes
        self.held_out = held_out
        self.cuda_graph = cuda_graph

        self.clock = Clock(n_dis * batches.global_size)
        self.running_means = RunningMeans()
        self.speed = Speed()
        self.latest: dict[str, float] = {}  # the last row of the log
        self.last_checkpoint: Path | None = None
        self.run_id: str | None = None  # written to checkpoints
        self.interrupted = False  # set when a signal asks to stop
        self.restoring = False  # while Lightning loads a checkpoint

    @abstractmethod
    def iterate(self, batch: dict[str, list[Batch]]) -> None:
        """Do all that an iteration does on the device, with the batches of every player's turns."""

    # ---- Lightning's hooks --------------------------------------------------------------------------------------

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        self._all_parameters = list(self.game.parameters())
        self._learning: str | None = None
        self.owned = {
            player: list(dict.fromkeys(p for network in networks for p in network.parameters() if p.requires_grad))
            for player, networks in self.game.players.items()
        }
        return [self.player_optimizers[player].build(owned) for player, owned in self.owned.items()]

    def train_dataloader(self):
        self.restoring = False  # Lightning has loaded the whole checkpoint
        return self.batches.to(self.device).stream(self.turns, self.game.draws_reals, start=self.iteration)

    def on_fit_start(self) -> None:
        self.game.train()
        self.run_iteration = self.iterate
        if self.cuda_graph:
            self.clock = RecordedClock(self.clock.images_per_iteration, self.device)
            self.run_iteration = RecordedIterations(self.iterate, self.clock, CudaGraphs())

    def on_train_start(self) -> None:
        self.optimizer_of = dict(zip(self.turns, self.trainer.optimizers, strict=True))
        for optimizer in self.trainer.optimizers:
            set_capturable(optimizer, self.cuda_graph, self.device)

    def training_step(self, batch: dict[str, list[Batch]], _: int) -> None:
        self.clock.iteration = self.iteration
        logged = self.is_logged(self.iteration)
        with self.speed.timing(self.device if logged else None):
            seed_layers(self.seed, self.iteration, "layers", self.global_rank, device=self.device)
            self.run_iteration(batch)
            # Lightning counts the steps of optimizers it wraps; here one step is one iteration
            progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
            progress.increment_ready()
            progress.increment_completed()
        if logged:
            self.log_means()

    def on_train_end(self) -> None:
        if not self.interrupted:  # otherwise the running means go on after a resume
            self.log_means()

    def on_fit_end(self) -> None:
        self.on_train_end()  # for a run that ended just before it
        for owned in self.owned.values():  # as they were before the first turn
            for parameter in owned:
                parameter.requires_grad_(True)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        broadcast(self.buffers())  # a resumed run has those of the first rank, so this run must, too
        self.check_finite()
        checkpoint["meter"] = self.running_means.state_dict()
        checkpoint |= {"kimg": self.kimg, "run": self.run_id}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.restoring = True
        if len(checkpoint["optimizer_states"]) != len(self.game.players):
            raise ValueError("it lacks an optimizer's state")  # Lightning would resume without
        if any(value.dtype == torch.float64 for value in checkpoint["state_dict"].values()):
            self.double()  # Lightning converts after it has loaded the weights, which loses their last digits
        self.running_means.load_state_dict(checkpoint["meter"], self.device)

    def is_logged(self, iteration: int) -> bool:
        """Return whether a row of the log follows the iteration after ``iteration``."""
        return (iteration + 1) % self.log_every == 0

    # ---- for callbacks ------------------------------------------------------------------------------------------

    @property
    def iteration(self) -> int:
        """Iterations completed."""
        return self.trainer.global_step

    @property
    def kimg(self) -> float:
        """Thousands of real examples drawn for the first player's turns, over all ranks."""
        return self.clock.kimg_at(self.iteration)

    def passed(self, every_kimg: float | None) -> bool:
        """Return whether the iteration just completed brought ``kimg`` to or over a multiple of ``every_kimg``."""
        if not every_kimg:
            return False
        now, before = self.kimg + 1e-9, self.clock.kimg_at(self.iteration - 1) + 1e-9
        return now // every_kimg > before // every_kimg

    def sampler(
        self, ema: bool = True, batch_norm: BatchNormPolicy = "standing", seed: int = 0, batch_size: int = 100
    ) -> Sampler:
        """Return a sampler of the producer as it is now: its average, or its raw weights."""
        producer = self.ema.network
        if not ema:  # a copy of the average, whose batch norms are never synchronised: one rank may sample alone
            producer = copy.deepcopy(producer)
            producer.load_state_dict(self.game.producer.state_dict())
        return Sampler(self.game, producer, batch_norm, seed, batch_size, self.num_classes, self.device, self.held_out)

    def log_row(self, row: dict[str, float]) -> None:
        """Write scalars to every logger, at this iteration and kimg."""
        for logger in self.trainer.loggers:
            logger.log_metrics(row | {"kimg": self.kimg}, step=self.iteration)

    def log_picture(self, name: str, picture: Tensor) -> None:
        """Log a picture (C, H, W), where there is a logger for pictures."""
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbRun):
                logger.log_image(name, [picture], step=self.iteration, kimg=self.kimg)

    def log_means(self) -> None:
        """Log the means since the last row, the speed and the learning rates."""
        self.check_finite()  # this also brings the ranks' means to the first rank
        if row := self.running_means.read():
            row |= self.speed.read(self.clock.images_per_iteration)
            for player, optimizer in zip(self.turns, self.trainer.optimizers, strict=True):
                kimg = self.clock.kimg_at(self.iteration - 1)
                row[f"{player}/lr"] = self.player_optimizers[player].lr(optimizer, kimg)
            self.latest = row
            self.log_row(row)

    def check_finite(self) -> None:
        """Raise TrainingDiverged if a logged scalar or a weight is NaN or infinite. Waits for the device."""
        self.running_means.pool()
        bad = self.running_means.first_bad()
        if bad is None:
            names, parameters = zip(*self.game.named_parameters(), strict=True)
            norms = torch._foreach_norm([p.detach() for p in parameters])  # pyright: ignore[reportPrivateImportUsage]
            finite = torch.stack(norms).isfinite().tolist()
            if all(finite):
                return
            bad = (names[finite.index(False)], self.iteration)
        name, iteration = bad
        raise TrainingDiverged(
            f"{name} became NaN or infinite in iteration {iteration} ({self.clock.kimg_at(iteration):.3f} kimg).\n"
            f"The last good checkpoint: {self.last_checkpoint or 'none was written yet'}.\n"
            "Usual remedies: a lower optimizer.*.lr, optimizer.*.clip_norm=1, a regularizer, or "
            "trainer.precision=32-true; start from those weights with init=FOLDER."
        )
