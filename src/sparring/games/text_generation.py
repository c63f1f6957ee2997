"""Generation of text, trained by maximum likelihood or by a discriminator."""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from sparring.config.errors import UserError
from sparring.data.modalities.text import Text
from sparring.games.game import Game
from sparring.games.turn import Turn
from sparring.games.two_player import TwoPlayer
from sparring.networks.text_lstm import Generator
from sparring.randomness import Draws
from sparring.regularizers.base import Regularizer


class TextGame(Game):
    """A game whose generator draws one unit after the other from Gumbel noise.

    Attributes:
        generator: noise (batch, length, V) -> one-hot units (batch, length, V).
    """

    generator: Generator
    modality: Text
    latent = "gumbel"
    lower_is_better = ("nll",)

    @property
    def producer(self) -> nn.Module:
        return self.generator

    def latents(self, draws: Draws) -> Tensor:
        """Return Gumbel noise -log(-log u) for each unit and symbol, (batch, length, V)."""
        noise = draws.uniform("latents", self.generator.length, len(self.modality.symbols))
        return noise.clamp_(min=torch.finfo(noise.dtype).tiny).log_().neg_().log_().neg_()

    def produce(self, latents: Tensor, condition: None = None, producer: nn.Module | None = None) -> Tensor:
        return (producer or self.generator)(latents)

    def truncate(self, latents: Tensor, limit: float) -> Tensor:
        raise UserError(f"sample.truncation={limit}: is for normal latents, and this model draws unit after unit")

    def facts(self, producer: Generator) -> dict[str, float | str]:
        return {"temperature": producer.temperature}

    def nll(self, turn: Turn) -> Tensor:
        """Return -log p of the reals, (), in nats a unit, padding included: the generator has to learn it, too."""
        return -self.generator.log_likelihood(turn.reals).mean()

    def own_scores(
        self, batch: dict[str, Tensor], draws: Draws, producer: Generator | None = None
    ) -> dict[str, Tensor]:
        """Return ``nll``: -log p of examples, (batch,), in nats a unit without padding, at the samples' temperature."""
        counts, producer = self.modality.counting(batch["images"]), producer or self.generator
        log_p = producer.log_likelihood(self.reals(batch), producer.temperature)
        return {"nll": -(log_p * counts).sum(1) / counts.sum(1)}

    def check_fits(self, producer: nn.Module, columns: dict[str, Tensor]) -> None:
        if not isinstance(self.modality, Text):
            raise UserError(
                f"model: it writes text, and these data are {self.modality.name}: data=text (data.path=FILE.txt)"
            )
        super().check_fits(producer, columns)


class MaximumLikelihood(TextGame):
    """One player: the generator minimises -log p of the data, of every unit given the true ones before it.

    Adversarial training of text starts from such a run, and is compared with it.

    Args:
        generator: see ``TextGame``.
        regularizers: those of the generator's turn.
    """

    draws_reals = frozenset({"generator"})

    def __init__(self, generator: Generator, regularizers: Mapping[str, Regularizer] | None = None):
        super().__init__(regularizers)
        self.generator = generator

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.generator]}

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        return {"nll": self.nll(turn)} | turn.regularization()


class TextGeneration(TextGame, TwoPlayer):
    """The generator learns from a discriminator, through straight-through Gumbel-softmax.

    It should start from a run of ``MaximumLikelihood`` (``init=RUN``): from random weights every unit looks fake.

    Args:
        generator: see ``TextGame``.
        discriminator: one-hot units (batch, length, V) -> logits (batch,).
        likelihood_weight: factor of ``MaximumLikelihood``'s term in the generator's turn; 0 for none.
        options: those of ``TwoPlayer``.
    """

    begins_from = "text_likelihood"

    def __init__(self, *, likelihood_weight: NonNegativeFloat = 0.0, **options: Any):
        super().__init__(**options)
        self.likelihood_weight = likelihood_weight
        if likelihood_weight:
            self.draws_reals = frozenset({"discriminator", "generator"})

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        terms = super().terms(player, turn)
        if player == "generator" and self.likelihood_weight:
            terms["nll"] = self.likelihood_weight * self.nll(turn)
        return terms
