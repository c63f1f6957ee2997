"""Text, unit by unit: learnt by maximum likelihood, or from a discriminator."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparring.config.errors import UserError
from sparring.data.modalities.text import Text
from sparring.games.game import Game
from sparring.games.turn import Turn
from sparring.games.two_player import TwoPlayer
from sparring.randomness import Draws
from sparring.regularizers.base import Regularizer


class Writing(Game):
    """A game whose generator draws one unit after the other: its latents are the noise that decides them.

    Attributes:
        generator: Gumbel noise (batch, length, V) -> one-hot units (batch, length, V); has ``log_likelihood`` and ``length``.
    """

    generator: nn.Module
    latent = "gumbel"
    lower_is_better = ("nll",)

    @property
    def producer(self) -> nn.Module:
        return self.generator

    def latents(self, draws: Draws) -> Tensor:
        """Gumbel noise -log(-log u) for each unit and symbol, (batch, length, V)."""
        noise = draws.uniform("latents", self.generator.length, len(self.modality.symbols))
        return noise.clamp_(min=torch.finfo(noise.dtype).tiny).log_().neg_().log_().neg_()

    def produce(self, latents: Tensor, condition: None = None, producer: nn.Module | None = None) -> Tensor:
        return (producer or self.generator)(latents)

    def truncate(self, latents: Tensor, limit: float) -> Tensor:
        raise UserError(f"sample.truncation={limit}: is for normal latents, and this model draws unit after unit")

    def facts(self, producer: nn.Module) -> dict[str, float | str]:
        return {"temperature": producer.temperature}

    def surprise(self, turn: Turn) -> Tensor:
        """-log p of the reals in nats a unit, what fills lines up to their length included: it has to be learnt, too."""
        return -self.generator.log_likelihood(turn.reals).mean()

    def own_scores(
        self, batch: dict[str, Tensor], draws: Draws, producer: nn.Module | None = None
    ) -> dict[str, Tensor]:
        """``nll``: -log p of each example, in nats a unit that belongs to it, at the temperature of the samples."""
        counts, producer = self.modality.counting(batch["images"]), producer or self.generator
        found = producer.log_likelihood(self.reals(batch), producer.temperature)
        return {"nll": -(found * counts).sum(1) / counts.sum(1)}

    def check_fits(self, producer: nn.Module, columns: dict[str, Tensor]) -> None:
        if not isinstance(self.modality, Text):
            raise UserError(
                f"model: it writes text, and these data are {self.modality.name}: data=text (data.path=FILE.txt)"
            )
        super().check_fits(producer, columns)


class MaximumLikelihood(Writing):
    """One player: the generator minimises -log p of the data, every unit given the true ones before it.

    What adversarial training of text starts from, and is compared with.

    Args:
        generator: see ``Writing``.
        regularizers: those that join the generator's turn.
    """

    draws_reals = frozenset({"generator"})

    def __init__(self, generator: nn.Module, regularizers: Mapping[str, Regularizer] | None = None):
        super().__init__(regularizers)
        self.generator = generator

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.generator]}

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        return {"nll": self.surprise(turn)} | turn.regularization()


class TextGeneration(Writing, TwoPlayer):
    """The generator learns from a discriminator alone, through straight-through Gumbel-softmax.

    From a run of ``MaximumLikelihood`` (``init=RUN``): from random weights every unit looks false, whatever it is.

    Args:
        generator: see ``Writing``.
        discriminator: one-hot units (batch, length, V) -> logits (batch,).
        likelihood_weight: factor of the generator's term of maximum likelihood beside the adversarial one; 0 for none.
        options: those of ``TwoPlayer``.
    """

    begins_from = "text_likelihood"

    def __init__(self, *, likelihood_weight: float = 0.0, **options: Any):
        super().__init__(**options)
        self.likelihood_weight = likelihood_weight
        if likelihood_weight:
            self.draws_reals = frozenset({"discriminator", "generator"})

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        terms = super().terms(player, turn)
        if player == "generator" and self.likelihood_weight:
            terms["nll"] = self.likelihood_weight * self.surprise(turn)
        return terms
