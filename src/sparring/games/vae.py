"""A variational autoencoder, to compare with."""

import copy
import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from sparring.config.errors import UserError
from sparring.games.latents import FromLatents
from sparring.games.turn import Turn
from sparring.networks.arguments import Classes, Width
from sparring.networks.base_discriminator import BaseDiscriminator
from sparring.randomness import Draws
from sparring.regularizers.base import Regularizer


class Posterior(nn.Module):
    """q(z | x, y), a Gaussian with independent components: images -> mean and log variance, (batch, latent_dim) each.

    Args:
        trunk: images (batch, C, H, W) -> ``features`` (batch, feature_dim).
        latent_dim: length of z.
        num_classes: number of labels, each of which shifts both (Sohn et al. 2015); 0 for none.
    """

    def __init__(self, trunk: BaseDiscriminator, latent_dim: int, num_classes: int = 0):
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(trunk.feature_dim, 2 * latent_dim)
        self.labels = None
        if num_classes:
            self.labels = nn.Embedding(num_classes, 2 * latent_dim)
            nn.init.zeros_(self.labels.weight)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        numbers = self.head(self.trunk.features(images)).to(torch.get_default_dtype())
        if self.labels is not None:
            numbers = numbers + self.labels(labels)
        mean, log_variance = numbers.chunk(2, dim=1)
        return mean, log_variance

    def sample(self, images: Tensor, draws: Draws, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z ~ q(z | x, y), (batch, latent_dim), and KL(q(z | x, y) || N(0, I)) in nats, (batch,)."""
        mean, log_variance = self(images, labels)
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return mean + (log_variance / 2).exp() * draws.normal("posterior", mean.shape[1]), kl


class Autoencoder(FromLatents):
    """A game whose ``posterior`` finds the latents of an image."""

    posterior: Posterior

    def reconstruct(self, batch: dict[str, Tensor], producer: nn.Module | None = None) -> Tensor:
        """Return the images of the posterior's means."""
        labels = batch["labels"] if self.conditional else None
        return self.produce(self.posterior(self.reals(batch), labels)[0], labels, producer)

    @torch.no_grad()
    def check_fits(self, producer: nn.Module, columns: dict[str, Tensor]) -> None:
        features = copy.deepcopy(self.posterior.trunk).eval().features(self.scaled(columns["images"][:2].cpu()))
        if features.ndim != 2:
            raise UserError(
                f"model.encoder: its features of an image are {tuple(features.shape[1:])}, and must be a vector: "
                "model/discriminator@model.encoder=dcgan"
            )
        super().check_fits(producer, columns)


class VAE(Autoencoder):
    """One player, encoder and decoder, raises a lower bound of log p(x) (Kingma & Welling 2014, eq. 3).

    Terms, in nats an image: ``reconstruction``, -E log p(x | z), and ``kl``, beta KL(q(z | x) || N(0, I)) (Higgins et
    al. 2017). The log also has ``elbo``, their negative sum without beta. A Gaussian p is the density of values in [-1,
    1]. All three are scores, too, of held-out examples (``data.held_out``).

    Args:
        generator: the decoder: latents (batch, latent_dim), labels or None -> the mean of p(x | z), in [-1, 1].
        encoder: a discriminator, whose features are used.
        regularizers: those of the generator's turn.
        latent_dim: length of z.
        conditional: encoder and decoder see the label.
        num_classes: number of labels then.
        likelihood: p(x | z): ``gaussian`` of deviation ``sigma``, or ``bernoulli`` of grey values as probabilities.
        sigma: for values in [-1, 1]. The smaller, the more the images count against the prior.
        beta: factor of the KL divergence.
    """

    draws_reals = frozenset({"generator"})

    def __init__(
        self,
        generator: nn.Module,
        encoder: BaseDiscriminator,
        regularizers: Mapping[str, Regularizer] | None = None,
        latent_dim: Width = 32,
        conditional: bool = False,
        num_classes: Classes = 0,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        sigma: PositiveFloat = 1.0,
        beta: NonNegativeFloat = 1.0,
    ):
        super().__init__(regularizers)
        self.generator, self.posterior = generator, Posterior(encoder, latent_dim, num_classes)
        self.latent_dim, self.conditional = latent_dim, conditional
        self.likelihood, self.sigma, self.beta = likelihood, sigma, beta

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.posterior, self.generator]}

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        bound = self._bound(turn.reals, turn.condition, turn.draws)
        turn.notes["elbo"] = bound["elbo"].mean()
        terms = {"reconstruction": bound["reconstruction"].mean(), "kl": self.beta * bound["kl"].mean()}
        return terms | turn.regularization()

    def own_scores(
        self, batch: dict[str, Tensor], draws: Draws, producer: nn.Module | None = None
    ) -> dict[str, Tensor]:
        """Return the bound and its parts, in nats, (batch,), without EMA, which has no encoder."""
        return self._bound(self.reals(batch), self.condition(batch, draws), draws)

    def _bound(self, images: Tensor, condition: Tensor | None, draws: Draws) -> dict[str, Tensor]:
        z, kl = self.posterior.sample(images, draws, condition)
        reconstruction = self.nll(images, self.produce(z, condition))
        return {"elbo": -(reconstruction + kl), "reconstruction": reconstruction, "kl": kl}

    def check_fits(self, producer: nn.Module, columns: dict[str, Tensor]) -> None:
        for name, regularizer in self.regularizers.items():
            kind: Any = type(regularizer)
            if regularizer.reads_features or kind.choose is not Regularizer.choose:
                raise UserError(f"regularizer.{name}: it needs a discriminator, and a VAE has none")
        super().check_fits(producer, columns)

    def nll(self, images: Tensor, means: Tensor) -> Tensor:
        """Return -log p(x | z) of images x and means of p, both (batch, C, H, W) in [-1, 1], in nats, (batch,)."""
        images, means = images.flatten(1), means.to(images.dtype).flatten(1)
        if self.likelihood == "bernoulli":
            values, p = images / 2 + 0.5, (means / 2 + 0.5).clamp(1e-6, 1 - 1e-6)
            # torch's binary_cross_entropy refuses to run in mixed precision on a GPU
            return -(values * p.log() + (1 - values) * (1 - p).log()).sum(1)
        return ((images - means).square() / (2 * self.sigma**2) + math.log(self.sigma * math.sqrt(2 * math.pi))).sum(1)
