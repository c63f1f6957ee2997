"""The engine: an iteration of adversarial training. It knows no loss, no network, no data."""

from collections.abc import Iterable, Iterator
from functools import reduce

import torch
from torch import Tensor, nn

from sparring.data.batches import Batch
from sparring.distributed.collectives import average_gradients
from sparring.games.turn import Turn
from sparring.training.lightning_hooks import LightningHooks


class AdversarialModule(LightningHooks):
    """Trains a game by alternating turns. One iteration: ``n_dis`` turns of the first player, one of each other.

    Its arguments are those of ``LightningHooks``, which call ``iterate`` and do all else that Lightning asks for.
    """

    def iterate(self, batch: dict[str, list[Batch]]) -> None:
        """Let every player take its turns, in order; then the average follows the producer."""
        if self.reuse_fakes:
            self.share_fakes(batch)
        else:
            for player, batches in batch.items():
                for turn_index, columns in enumerate(batches):
                    self.take_turn(player, self.micro_batches(player, turn_index, columns))

        step_kimg = self.clock.kimg_at(1)
        share = self.clock.number(lambda i: 1 - self.ema.decay(self.clock.kimg_at(i + 1), step_kimg))
        self.ema.update(self.game.producer, share)

    def share_fakes(self, batch: dict[str, list[Batch]]) -> None:
        """Let two players take a turn each on the same fakes, made with their graph before the discriminator's turn."""
        (discriminator, (columns,)), (generator, _) = batch.items()
        self.let_learn(generator)
        (generator_turn,) = self.micro_batches(generator, 0, columns)
        (discriminator_turn,) = self.micro_batches(discriminator, 0, columns)
        discriminator_turn.reuse_fakes(generator_turn)
        self.take_turn(discriminator, [discriminator_turn])
        self.take_turn(generator, [generator_turn])

    def micro_batches(self, player: str, turn_index: int, columns: Batch) -> Iterator[Turn]:
        """Yield the parts of a turn, each with its own part of the turn's random numbers."""
        draws = self.batches.draws(player, self.clock.iteration, turn_index, self.clock.generator)
        logged = self.clock.decide(self.is_logged)
        size = len(draws) // self.accumulate
        for start in range(0, len(draws), size):
            part = slice(start, start + size)
            part_columns = {name: column[part] for name, column in columns.items()}
            yield Turn(self.game, player, part_columns, draws.only(part), self.clock, logged)

    def take_turn(self, player: str, turns: Iterable[Turn]) -> None:
        """Compute the gradients of the player's loss over its micro-batches, update it, let the game follow."""
        parameters = self.let_learn(player)
        for turn in turns:
            terms = self.game.terms(player, turn)
            loss = reduce(torch.add, terms.values()) / self.accumulate
            self.manual_backward(loss)
            self.record({f"{player}/{name}": term for name, term in terms.items()} | turn.notes)
        self.average_gradients(parameters)
        self.clip_gradients(player, parameters)

        optimizer = self.optimizer_of[player]
        self.player_optimizers[player].follow_schedules(optimizer, self.clock)
        self.trainer.strategy.optimizer_step(optimizer, lambda: None)  # not counted: global_step is in iterations
        optimizer.zero_grad()
        with torch.no_grad():
            self.game.after(player, turn)

    def let_learn(self, player: str) -> list[nn.Parameter]:
        """Return the player's own parameters, the only ones that collect gradient from now on.

        It still flows through the others' layers.
        """
        if player != self._learning:
            for parameter in self._all_parameters:
                parameter.requires_grad_(False)
            for parameter in self.owned[player]:
                parameter.requires_grad_(True)
            self._learning = player
        return self.owned[player]

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Average over the ranks, once a turn: their only communication in a step."""
        average_gradients(parameters)

    def clip_gradients(self, player: str, parameters: list[nn.Parameter]) -> None:
        """Bound the norm of the player's whole gradient, and record it."""
        clip_norm = self.player_optimizers[player].clip_norm
        if clip_norm is not None:
            self.record({f"{player}/gradient_norm": nn.utils.clip_grad_norm_(parameters, clip_norm)})
        elif self.clock.decide(self.is_logged):
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            self.record({f"{player}/gradient_norm": norm})

    def record(self, scalars: dict[str, Tensor]) -> None:
        """Add scalars () to the running means."""
        self.running_means.record(scalars, self.clock.number(lambda iteration: iteration + 1))
