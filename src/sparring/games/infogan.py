"""InfoGAN: part of the latent is a code that can be read back from the image, and so comes to mean something."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from sparring.games.generation import Generation
from sparring.games.turn import Turn
from sparring.randomness import Draws

STEPS = 10  # of a walk along a continuous code


class InfoGAN(Generation):
    """Generation from noise and codes; a head Q on D's features reads the codes back (Chen et al. 2016, eq. 6).

    Latents are (batch, latent_dim): noise, then each categorical code as one-hot, then continuous codes, U(-1, 1). The
    term ``information`` is -log Q(c | G(z, c)), whose negative bounds the mutual information from below (eq. 5) up to the
    codes' entropy; Q (with D's features) minimises it in D's turn, G in its own. Continuous codes are read as Gaussians of
    deviation 1, as in the authors' code for MNIST.

    Args:
        categorical: number of values of each categorical code.
        continuous: number of continuous codes.
        categorical_weight, continuous_weight: lambda of either kind.
        hidden: units of Q's own hidden layer.
        options: those of ``Generation``; the discriminator is a ``BaseDiscriminator``.
    """

    reads_features = True

    def __init__(
        self,
        *,
        categorical: Sequence[int] = (10,),
        continuous: int = 2,
        categorical_weight: float = 1.0,
        continuous_weight: float = 0.1,
        hidden: int = 128,
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
            raise ValueError("InfoGAN's codes are read from single images without labels: packing=1 conditional=false")
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
        codes = [
            one_hot((draws.uniform(f"code {i}") * values).long(), values).to(noise)
            for i, values in enumerate(self.categorical)
        ]
        return torch.cat([noise, *codes, draws.uniform("codes", self.continuous).mul_(2).sub_(1)], dim=1)

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        return super().terms(player, turn) | self._information(self.reader(turn.fake_features), turn)

    def _information(self, read: Tensor, turn: Turn) -> dict[str, Tensor]:
        """Weighted -log Q of the codes that the fakes were made of."""
        sizes = [*self.categorical, self.continuous]
        codes = turn.latents[:, self.noise_dim :].split(sizes, dim=1)
        *logits, means = read.split(sizes, dim=1)
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
        """Every value of each categorical code, and each continuous code from -1 to 1; a batch of latents a step."""
        walks, start = {}, self.noise_dim
        for i, values in enumerate(self.categorical):
            walks[f"code-{i}"] = [
                _replaced(latents, start, one_hot(torch.full((len(latents),), value), values))
                for value in range(values)
            ]
            start += values
        for i in range(self.continuous):
            column = torch.ones(len(latents), 1)
            walks[f"continuous-{i}"] = [
                _replaced(latents, start + i, column * value) for value in torch.linspace(-1, 1, STEPS).tolist()
            ]
        return walks


def _replaced(latents: Tensor, start: int, values: Tensor) -> Tensor:
    changed = latents.clone()
    changed[:, start : start + values.shape[1]] = values.to(latents)
    return changed
