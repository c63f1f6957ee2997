"""The base of all regularizers, and what they may ask of a turn and of a game."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from sparring.randomness import Draws

Schedule = Callable[[float], float]  # kimg -> factor, usually in [0, 1]
T = TypeVar("T")


class Game(Protocol):
    """What a regularizer may ask of the game that it joins, before training."""

    latent_dim: int | None  # length of the generator's latents; None for a generator that has none
    judge_pairs: bool  # whether D sees the condition next to the image

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        """The networks that each player trains."""
        ...


class Turn(ABC):
    """What a regularizer may ask of the turn that it joins; ``sparring.games.turn.Turn`` makes it.

    Quantities are made when they are first asked for, and once a turn. They carry the gradient of the player whose
    turn it is, and of no other.

    Attributes:
        networks: the networks that this player trains.
        draws: the random numbers of this batch; every draw names its purpose.
        notes: scalars () to be logged, by name.
        reals: real examples (batch, ...), images as float in [-1, 1].
        fakes: what the generator makes of ``latents`` and ``condition``, shaped as ``reals``.
        latents: the generator's input noise (batch, latent_dim).
        condition: labels (batch,) int64, images (batch, C, H, W) in [-1, 1], or None.
        real_logits: D's logits of the augmented reals, high for real: (batch,), or (batch, discriminators) of several.
            A discriminator of patches has batch * patches rows, those of an image together; one of packs has fewer.
        fake_logits: those of the augmented fakes.
        real_features: what ``real_logits`` are read from, (batch, dim).
        fake_features: what ``fake_logits`` are read from, (batch, dim).
    """

    networks: list[nn.Module]
    draws: Draws
    notes: dict[str, Tensor]
    reals: Tensor
    fakes: Tensor
    latents: Tensor
    condition: Tensor | None
    real_logits: Tensor
    fake_logits: Tensor
    real_features: Tensor
    fake_features: Tensor

    @abstractmethod
    def judge(self, images: Tensor, purpose: str) -> Tensor:
        """Return D's logits of other images, augmented as ``purpose`` (real, fake or a new word) is in this turn."""

    @abstractmethod
    def produce(self, latents: Tensor) -> Tensor:
        """Return what the generator makes of other latents (batch, latent_dim) under the turn's condition."""

    @abstractmethod
    def other_latents(self, purpose: str) -> Tensor:
        """Return latents (batch, latent_dim) drawn independently of the turn's own."""

    @abstractmethod
    def scheduled(self, schedule: Schedule | None) -> float | Tensor:
        """Return a schedule's value now, a number or a tensor () to compute with; 1.0 without a schedule."""

    @abstractmethod
    def decide(self, rule: Callable[[int, float], T]) -> T:
        """Return ``rule(iterations completed, kimg)``, on which it depends what is computed."""

    @abstractmethod
    def twice_differentiable(self) -> AbstractContextManager:
        """Run networks so that gradients within can be differentiated: eagerly, and in float32."""


class Regularizer(nn.Module):
    """Base of all regularizers.

    Args:
        weight: factor of its term.
        every: iterations between two uses.
        schedule: factor of the weight as a function of kimg; None for a constant weight.

    Attributes:
        player: whose turn it joins.
        needs_reals: its player must be given real data; the discriminator is anyway.
        reads_features: it reads D's features. D's logits are then made from the same pass.
        needs_latents: it moves the generator's latents or draws others.
        couples_batch: its value depends on which examples come together, so that ranks differ from one process.
    """

    player = "discriminator"
    needs_reals = False
    reads_features = False
    needs_latents = False
    couples_batch = False

    def __init__(self, weight: NonNegativeFloat = 1.0, every: PositiveInt = 1, schedule: Schedule | None = None):
        super().__init__()
        self.weight = weight
        self.every = every
        self.schedule = schedule

    def is_due(self, iteration: int, kimg: float) -> bool:
        """Return whether its term is computed after so many iterations."""
        return iteration % self.every == 0

    def weight_in(self, turn: Turn) -> float:
        """Return the factor of its term in this turn, before ``schedule`` and ``every``."""
        return self.weight

    def forward(self, turn: Turn) -> Tensor | None:
        """Return its value, unreduced (batch,) or a scalar (); None if it adds no term."""
        return None

    def choose(self, losses: Tensor, turn: Turn) -> Tensor:
        """Return those of the generator's unreduced adversarial losses (batch,) that count; by default all."""
        return losses

    def check_fits(self, game: Game, data: Tensor) -> None:
        """Raise ValueError, before training, if it means nothing for this game or these examples (N, ...)."""
        if self.needs_latents and game.latent_dim is None:
            raise ValueError("it moves latents, and the generator of this model has none")

    def after(self, turn: Turn) -> None:
        """Follow the player's update; called without gradient."""
