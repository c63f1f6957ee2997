"""One turn of one player: each quantity is made once, when it is first asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sparring.games.clock import Clock
from sparring.games.players import Players
from sparring.randomness import Draws
from sparring.regularizers import base

T = TypeVar("T")


class Turn(base.Turn):
    """One turn of one player over one micro-batch.

    The engine decides before the turn which parameters collect gradient: only the player's own. So ``fakes`` made in
    the discriminator's turn have no graph, and in the generator's turn they have one. The base class describes each
    quantity, its shape and range.

    Args:
        game: how each quantity is made.
        player: whose loss is computed.
        batch: columns of real data, e.g. ``images`` (batch, C, H, W) uint8 and ``labels`` (batch,) int64. A player
            that draws no reals is given the labels alone.
        draws: this turn's random numbers.
        clock: at the current iteration.
        logged: whether this iteration is logged, so that costly diagnostics are worth computing.
    """

    def __init__(
        self,
        game: Players,
        player: str,
        batch: dict[str, Tensor],
        draws: Draws,
        clock: Clock | None = None,
        logged: bool = False,
    ):
        self.game = game
        self.player = player
        self.networks: list[nn.Module] = game.players[player]
        self.batch = batch
        self.draws = draws
        self.clock = clock or Clock()
        self.logged = logged
        self.notes: dict[str, Tensor] = {}  # scalars to be logged with the loss terms, by name
        self.parts: dict[str, Turn] = {}  # the turns of the games that this game is made of, by name

    def part(self, game: Players, batch: dict[str, Tensor], name: str) -> "Turn":
        """Return the turn of a game within this one, with columns and draws of its own."""
        draws = replace(self.draws, key=(*self.draws.key, name))
        return Turn(game, self.player, batch, draws, self.clock, self.logged)

    @cached_property
    def reals(self) -> Tensor:
        return self.game.reals(self.batch)

    @cached_property
    def condition(self) -> Tensor | None:
        return self.game.condition(self.batch, self.draws)

    @cached_property
    def latents(self) -> Any:
        return self.game.latents(self.draws)

    @cached_property
    def fakes(self) -> Tensor:
        return self.game.produce(self.latents, self.condition)

    @cached_property
    def real_features(self) -> Tensor:
        return self.game.features(self.augmented(self.reals, "real"), self.condition)

    @cached_property
    def fake_features(self) -> Tensor:
        return self.game.features(self.augmented(self.fakes, "fake"), self.condition)

    @cached_property
    def real_logits(self) -> Tensor:
        if self.game.reads_features:  # one pass for all that is read from them
            return self.game.judge_features(self.real_features, self.condition)
        return self.judge(self.reals, "real")

    @cached_property
    def fake_logits(self) -> Tensor:
        if self.game.reads_features:
            return self.game.judge_features(self.fake_features, self.condition)
        return self.judge(self.fakes, "fake")

    def judge(self, images: Tensor, purpose: str) -> Tensor:
        return self.game.discriminate(self.augmented(images, purpose), self.condition)

    def augmented(self, images: Tensor, purpose: str) -> Tensor:
        """Return images as D is to see them."""
        augment = self.game.augment
        return images if augment is None else augment(images, self.draws, purpose, self.scheduled(augment.schedule))

    def produce(self, latents: Tensor) -> Tensor:
        return self.game.produce(latents, self.condition)

    def other_latents(self, purpose: str) -> Any:
        return self.game.latents(replace(self.draws, key=(*self.draws.key, purpose)))

    def reuse_fakes(self, other: "Turn") -> None:
        """Take the fakes, and what they were made from, of another player's turn, without their graph."""
        self.latents, self.condition, self.fakes = other.latents, other.condition, other.fakes.detach()

    def scheduled(self, schedule: base.Schedule | None) -> float | Tensor:
        return self.clock.scheduled(schedule)

    def decide(self, rule: Callable[[int, float], T]) -> T:
        return self.clock.decide(lambda iteration: rule(iteration, self.clock.kimg_at(iteration)))

    @contextmanager
    def twice_differentiable(self) -> Iterator[None]:
        # in float32, because the square of a bfloat16 gradient keeps two digits
        with torch.autocast(torch.device(self.draws.device).type, enabled=False), self.game.uncompiled():
            yield

    def regularization(self) -> dict[str, Tensor]:
        """Return the weighted terms () of the regularizers that join this turn in this iteration, by name."""
        terms = {}
        for name, regularizer in self.game.regularizers.items():
            if regularizer.player == self.player and self.decide(regularizer.is_due):
                value = regularizer(self)
                if value is not None:
                    weight = regularizer.weight_in(self) * self.scheduled(regularizer.schedule)
                    terms[name] = weight * regularizer.every * value.mean()
        return terms
