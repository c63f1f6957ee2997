"""The engine: a LightningModule that lets the players of a game take turns. It knows no loss, no network, no data."""

import copy
import time
from collections.abc import Mapping
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from sparring.config.errors import TrainingDiverged
from sparring.data.batches import Batches
from sparring.distributed.collectives import average_gradients, broadcast
from sparring.evaluation.sampler import BatchNormPolicy, Sampler
from sparring.games.game import Game
from sparring.games.turn import Turn
from sparring.randomness import seed_layers
from sparring.training.cuda_graphs import Captured, CudaGraphs, Moment
from sparring.training.ema import EMA
from sparring.training.optimizers import PlayerOptimizer, set_capturable
from sparring.training.running_means import RunningMeans


class AdversarialModule(pl.LightningModule):
    """Trains a game by alternating turns. One iteration: ``n_dis`` turns of the first player, one of each other.

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
        held_out: columns that nobody is trained on: what a game that translates answers to, and other games are scored beside.
        cuda_graph: record iterations as CUDA graphs and replay them (one process; optimizers that are ``capturable``).
    """

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
        held_out: dict[str, Tensor] | None = None,
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
        self.captured: Captured | None = None
        self.images_per_iteration = n_dis * batches.global_size
        self.meter = RunningMeans()
        self.latest: dict[str, float] = {}  # the last row of the log
        self.last_checkpoint: Path | None = None
        self.run_id: str | None = None  # of whom checkpoints say that they are
        self.interrupted = False  # set when a signal asks to stop
        self._seconds, self._timed = 0.0, 0  # of how many iterations

    # ---- the clock ----------------------------------------------------------------------------------------------

    @property
    def iteration(self) -> int:  # completed
        return self.trainer.global_step

    def kimg_at(self, iteration: int) -> float:
        """Thousands of real examples drawn for the first player's turns, over all ranks, after ``iteration``."""
        return iteration * self.images_per_iteration / 1000

    @property
    def kimg(self) -> float:
        return self.kimg_at(self.iteration)

    def passed(self, every_kimg: float | None) -> bool:
        """Whether the iteration just completed brought the clock to or over a multiple of ``every_kimg``."""
        if not every_kimg:
            return False
        now, before = self.kimg + 1e-9, self.kimg_at(self.iteration - 1) + 1e-9
        return now // every_kimg > before // every_kimg

    # ---- what others ask for ------------------------------------------------------------------------------------

    def sampler(self, ema: bool = True, batch_norm: BatchNormPolicy = "standing", seed: int = 0, batch_size: int = 100):
        """The producer as it is now, the average or the raw weights, ready to be shown."""
        producer = self.ema.network
        if not ema:  # in the average's body, whose batch norms are never synchronised: a rank may show it alone
            producer = copy.deepcopy(producer)
            producer.load_state_dict(self.game.producer.state_dict())
        place = self.num_classes, self.device, self.held_out
        return Sampler(self.game, producer, batch_norm, seed, batch_size, *place)

    def log_row(self, row: dict[str, float]) -> None:
        """Write scalars to every logger, at this iteration and kimg."""
        for logger in self.trainer.loggers:
            logger.log_metrics(row | {"kimg": self.kimg}, step=self.iteration)

    # ---- Lightning's hooks --------------------------------------------------------------------------------------

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        self._all_parameters = list(self.game.parameters())
        self._learning: str | None = None
        self._owned = {
            player: list(dict.fromkeys(p for network in networks for p in network.parameters() if p.requires_grad))
            for player, networks in self.game.players.items()
        }
        built = {player: self.player_optimizers[player].build(owned) for player, owned in self._owned.items()}
        self._base = {player: dict(optimizer.defaults) for player, optimizer in built.items()}
        return list(built.values())

    def train_dataloader(self):
        return self.batches.to(self.device).stream(self.turns, self.game.draws_reals, start=self.iteration)

    def on_fit_start(self) -> None:
        self.game.train()
        self.captured = Captured(self._iterate, self.kimg_at, self.device, CudaGraphs()) if self.cuda_graph else None

    def on_train_start(self) -> None:
        for optimizer in self.trainer.optimizers:
            set_capturable(optimizer, self.cuda_graph, self.device)

    def on_fit_end(self) -> None:
        self.on_train_end()  # of a run that ended just before it
        for owned in self._owned.values():  # as they were before the first turn
            for parameter in owned:
                parameter.requires_grad_(True)

    def training_step(self, batch: dict[str, list[dict[str, Tensor]]], _: int) -> None:
        """One iteration: every player's turns in order, then the average follows the producer."""
        started, iteration = time.perf_counter(), self.iteration
        seed_layers(self.seed, iteration, "layers", self.global_rank, device=self.device)
        if self.captured is None:
            self._iterate(batch, iteration, Moment(self.kimg_at))
        else:
            phase = self._is_logged(iteration), self.game.phase(iteration, self.kimg_at(iteration))
            self.captured(batch, iteration, phase)
        self._count()

        if self._is_logged(iteration) and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the log is about to wait anyway, and this belongs to the time
        self._seconds, self._timed = self._seconds + time.perf_counter() - started, self._timed + 1
        if self._is_logged(iteration):
            self._log()

    def on_train_end(self) -> None:
        if not self.interrupted:  # else what no row holds yet goes on being gathered
            self._log()

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        broadcast(self.buffers())  # else ranks that go on would keep other running statistics than those that resume
        self.check_finite()
        checkpoint["meter"] = self.meter.state_dict()
        checkpoint |= {"kimg": self.kimg, "run": self.run_id}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        if len(checkpoint["optimizer_states"]) != len(self.game.players):
            raise ValueError("it lacks an optimizer's state")  # Lightning would go on without
        if any(value.dtype == torch.float64 for value in checkpoint["state_dict"].values()):
            self.double()  # before the weights are put in: Lightning converts later, when their last digits are lost
        self.meter.load_state_dict(checkpoint["meter"], self.device)

    # ---- a turn -------------------------------------------------------------------------------------------------

    def _iterate(self, batch: dict[str, list[dict[str, Tensor]]], iteration: int, moment: Moment) -> None:
        """All that an iteration does on the device."""
        shared = self._fakes_for_both(batch, iteration, moment) if self.reuse_fakes else None
        for player, turns in self.turns.items():
            for turn_index in range(turns):
                self._take_turn(player, turn_index, batch[player][turn_index], iteration, moment, shared)
        self.ema.update(self.game.producer, moment.kimg(iteration + 1), self.images_per_iteration / 1000)

    def _count(self) -> None:
        """Tell Lightning, which counts the steps of the optimizers it wraps, that an iteration is over."""
        optimizers = self.optimizers()
        last = optimizers[-1] if isinstance(optimizers, list) else optimizers
        last._on_before_step()
        last._on_after_step()

    def _take_turn(self, player, turn_index, batch, iteration, moment: Moment, shared: Turn | None) -> None:
        """Gradients of the player's loss over its micro-batches, one update, and what the game does after it."""
        self._let_learn(player)
        settings, number = self.player_optimizers[player], moment.number(iteration + 1)
        for turn in self._turns(player, turn_index, batch, iteration, moment):
            if shared is not None and player == shared.player:
                turn = shared
            elif shared is not None:
                turn.reuse_fakes(shared)
            terms = self.game.terms(player, turn)
            self.manual_backward(sum(terms.values()) / self.accumulate)
            self.meter.record({f"{player}/{name}": term for name, term in terms.items()} | turn.notes, number)

        parameters = self._owned[player]
        self.average_gradients(parameters)
        if settings.clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
            self.meter.record({f"{player}/gradient_norm": norm}, number)
        elif self._is_logged(iteration):
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            self.meter.record({f"{player}/gradient_norm": norm}, number)

        optimizer = self.trainer.optimizers[list(self.turns).index(player)]
        settings.follow(optimizer, self._base[player], moment.kimg(iteration))
        self.trainer.strategy.optimizer_step(optimizer, lambda: None)  # not counted: global_step is in iterations
        optimizer.zero_grad()
        with torch.no_grad():
            self.game.after(player, turn)

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Over the ranks, once a turn: the only thing they say to each other in a step."""
        average_gradients(parameters)

    def _turns(self, player, turn_index, batch, iteration, moment: Moment):
        """The micro-batches of a turn, each with its own part of the turn's random numbers."""
        draws = self.batches.draws(player, iteration, turn_index, moment.generator)
        size = len(draws) // self.accumulate
        for start in range(0, len(draws), size):
            part = slice(start, start + size)
            columns = {name: column[part] for name, column in batch.items()}
            yield Turn(
                self.game,
                player,
                columns,
                draws.only(part),
                iteration,
                self._is_logged(iteration),
                moment.kimg(iteration),
            )

    def _fakes_for_both(self, batch, iteration, moment: Moment) -> Turn:
        """The generator's turn with its fakes made (with their graph) before the discriminator's turn."""
        first, last = self.turns
        self._let_learn(last)
        (shared,) = self._turns(last, 0, batch[first][0], iteration, moment)
        _ = shared.fakes
        return shared

    def _let_learn(self, player: str) -> None:
        """Only the player's own parameters collect gradient; it still flows through the others' layers."""
        if player != self._learning:
            for parameter in self._all_parameters:
                parameter.requires_grad_(False)
            for parameter in self._owned[player]:
                parameter.requires_grad_(True)
            self._learning = player

    def _is_logged(self, iteration: int) -> bool:
        return (iteration + 1) % self.log_every == 0

    def _log(self) -> None:
        """One row: means since the last one, speed, learning rates."""
        self.check_finite()  # and the ranks' means come to the first
        if not (row := self.meter.read()):
            return
        if self._timed:
            row["images_per_second"] = self._timed * self.images_per_iteration / self._seconds
        self._seconds, self._timed = 0.0, 0
        for player in self.turns:
            row[f"{player}/lr"] = self.player_optimizers[player].lr(
                self._base[player], self.kimg_at(self.iteration - 1)
            )
        self.latest = row
        self.log_row(row)

    def check_finite(self) -> None:
        """Raise if a loss term, a noted scalar or a weight is NaN or infinite. Waits for the device."""
        self.meter.pool()
        bad = self.meter.first_bad()
        if bad is None:
            norms = torch.stack(torch._foreach_norm([p.detach() for p in self.game.parameters()]))
            if norms.isfinite().all():
                return
            index = int(norms.isfinite().logical_not().nonzero()[0])
            bad = ([name for name, _ in self.game.named_parameters()][index], self.iteration)
        name, iteration = bad
        raise TrainingDiverged(
            f"{name} became NaN or infinite in iteration {iteration} ({self.kimg_at(iteration):.3f} kimg).\n"
            f"The last good checkpoint: {self.last_checkpoint or 'none was written yet'}.\n"
            "Usual remedies: a lower optimizer.*.lr, optimizer.*.clip_norm=1, a regularizer, or trainer.precision=32-true; "
            "start from those weights with init=FOLDER."
        )
