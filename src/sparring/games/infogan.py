"""InfoGAN: part of the latent is a code that can be predicted from the image, and so gets a meaning."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from sparring.games.generation import Generation
from sparring.games.turn import Turn
from sparring.networks.arguments import Classes, Width
from sparring.networks.base_discriminator import BaseDiscriminator
from sparring.randomness import Draws

STEPS = 10  # of a walk along a continuous code


class InfoGAN(Generation):
    """Generation from noise and codes; a head Q on D's features predicts the codes (Chen et al. 2016, eq. 6).

    Latents are (batch, latent_dim): noise, then each categorical code as one-hot, then continuous codes, U(-1, 1). The
    term ``information`` is -log Q(c | G(z, c)), whose negative bounds the mutual information from below (eq. 5) up to
    the codes' entropy; Q (with D's features) minimises it in D's turn, G in its own. Q of a continuous code is a
    Gaussian of deviation 1, as in the authors' code for MNIST.

    Args:
        categorical: number of values of each categorical code.
        continuous: number of continuous codes.
        categorical_weight, continuous_weight: lambda of either kind.
        hidden: units of Q's own hidden layer.
        options: those of ``Generation``; the discriminator is a ``BaseDiscriminator``.
    """

    reads_features = True
    discriminator: BaseDiscriminator

    def __init__(
        self,
        *,
        categorical: Sequence[Annotated[int, Field(ge=2, le=65536)]] = (10,),
        continuous: Classes = 2,
        categorical_weight: NonNegativeFloat = 1.0,
        continuous_weight: NonNegativeFloat = 0.1,
        hidden: Width = 128,
        **options,
    ):
        super().__init__(**options)
        self.categorical, self.continuous = tuple(categorical), continuous
        self.categorical_weight, self.continuous_weight = categorical_weight, continuous_weight
        self.noise_dim = self.latent_dim - sum(categorical) - continuous
        if self.noise_dim < 1 or not sum(categorical) + continuous:
            raise ValueError(
                f"latent_dim={self.latent_dim}: holds the noise and the codes, here {sum(categorical)} numbers of "
                f"categorical ones and {continuous} continuous"
            )
        if self.packing > 1 or self.conditional:
            raise ValueError("InfoGAN predicts the codes of single images without labels: packing=1 conditional=false")
        self.reader = nn.Sequential(
            nn.Linear(self.discriminator.feature_dim, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, sum(categorical) + continuous),
        )

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        return {"discriminator": [self.discriminator, self.reader], "generator": [self.generator]}

    def latents(self, draws: Draws) -> Tensor:
        noise = super().latents(draws)[:, : self.noise_dim]
        drawn = [(draws.uniform(f"code {i}") * n).long() for i, n in enumerate(self.categorical)]
        codes = [one_hot(code, n).to(noise) for code, n in zip(drawn, self.categorical, strict=True)]
        return torch.cat([noise, *codes, draws.uniform("codes", self.continuous).mul_(2).sub_(1)], dim=1)

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        return super().terms(player, turn) | self._information(self.reader(turn.fake_features), turn)

    def _information(self, predictions: Tensor, turn: Turn) -> dict[str, Tensor]:
        """Return the weighted -log Q of the codes of the fakes."""
        sizes = [*self.categorical, self.continuous]
        codes = turn.latents[:, self.noise_dim :].split(sizes, dim=1)
        *logits, means = predictions.split(sizes, dim=1)
        terms = {}
        if self.categorical:
            categorical = sum(cross_entropy(q, code.argmax(1)) for q, code in zip(logits, codes[:-1], strict=True))
            terms["information"] = self.categorical_weight * categorical
        if self.continuous:
            squares = (means - codes[-1]).square() + math.log(2 * math.pi)
            terms["information_continuous"] = self.continuous_weight * squares.sum(1).mean() / 2
        return terms

    def truncate(self, latents: Tensor, limit: float) -> Tensor:
        return torch.cat([super().truncate(latents[:, : self.noise_dim], limit), latents[:, self.noise_dim :]], dim=1)

    def clip_to_prior(self, latents: Tensor) -> Tensor:
        """Categorical codes as shares of their values, continuous ones in [-1, 1]."""
        noise, *codes, rest = latents.split([self.noise_dim, *self.categorical, self.continuous], dim=1)
        codes = [code.clamp(min=1e-6) for code in codes]
        shares = [code / code.sum(1, keepdim=True) for code in codes]
        return torch.cat([super().clip_to_prior(noise), *shares, rest.clamp(-1, 1)], dim=1)

    def interpolate(self, latents: Tensor, frames: int) -> list[Tensor]:
        """Noise as in ``Generation``, codes straight."""
        noise = super().interpolate(latents[:, : self.noise_dim], frames)
        codes, goals = latents[:, self.noise_dim :], latents.roll(-1, 0)[:, self.noise_dim :]
        return [torch.cat([z, torch.lerp(codes, goals, i / frames)], dim=1) for i, z in enumerate(noise)]

    def traversals(self, latents: Tensor) -> dict[str, list[Tensor]]:
        """Return every value of each categorical code, each continuous code from -1 to 1; a batch of latents a step."""
        walks, start = {}, self.noise_dim
        for i, values in enumerate(self.categorical):
            walks[f"code-{i}"] = [_with_code(latents, start, code) for code in torch.eye(values)]
            start += values
        for i in range(self.continuous):
            steps = torch.linspace(-1, 1, STEPS)[:, None]
            walks[f"continuous-{i}"] = [_with_code(latents, start + i, code) for code in steps]
        return walks


def _with_code(latents: Tensor, start: int, code: Tensor) -> Tensor:
    changed = latents.clone()
    changed[:, start : start + len(code)] = code.to(latents)
    return changed
