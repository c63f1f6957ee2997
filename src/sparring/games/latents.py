"""Games whose producer makes examples from latents."""

from typing import Literal

import torch
from torch import Tensor, nn

from sparring.config.errors import UserError
from sparring.games.game import Game
from sparring.randomness import Draws


class FromLatents(Game):
    """A game whose producer is given latents (batch, latent_dim) and, if ``conditional``, labels (batch,).

    Attributes:
        generator: latents, labels or None -> images (batch, C, H, W) in [-1, 1].
        latent_dim: size of the noise vector.
        latent: ``normal``, N(0, 1), or ``uniform``, U(-1, 1).
    """

    walks = True
    generator: nn.Module
    latent_dim: int
    latent: Literal["normal", "uniform"] = "normal"

    @property
    def producer(self) -> nn.Module:
        return self.generator

    def produce(self, latents: Tensor, condition: Tensor | None = None, producer: nn.Module | None = None) -> Tensor:
        return (producer or self.generator)(latents, condition)

    def condition(self, batch: dict[str, Tensor], draws: Draws) -> Tensor | None:
        return batch["labels"] if self.conditional else None

    def latents(self, draws: Draws) -> Tensor:
        if self.latent == "normal":
            return draws.normal("latents", self.latent_dim)
        return draws.uniform("latents", self.latent_dim).mul_(2).sub_(1)

    def truncate(self, latents: Tensor, limit: float) -> Tensor:
        """Return normal latents squeezed into [-limit, limit] by their quantiles: fewer oddities, less variety.

        The truncation trick of Brock et al. 2019 (BigGAN, section 3.1), without drawing again.

        Raises:
            UserError: the latents are not normal, the limit is not positive, or the generator undoes it.
        """
        if hasattr(self.generator, "mapping"):
            raise UserError(f"sample.truncation={limit}: StyleGAN2 divides latents by their length, which undoes it")
        if self.latent != "normal" or limit <= 0:
            raise UserError(f"sample.truncation={limit}: must be above 0, for model.latent=normal (here {self.latent})")
        low, high = (torch.special.ndtr(torch.tensor(x)) for x in (-limit, limit))
        return torch.special.ndtri(low + torch.special.ndtr(latents) * (high - low))

    def clip_to_prior(self, latents: Tensor) -> Tensor:
        """Return the latents of the prior's support that are nearest to latents (batch, latent_dim)."""
        return latents.clamp(-1, 1) if self.latent == "uniform" else latents

    def interpolate(self, latents: Tensor, frames: int) -> list[Tensor]:
        """Return ``frames`` batches of latents on the way from each latent to the next, and from the last to the first.

        It is on the sphere for normal latents, whose lengths vary little; straight for uniform ones.
        """
        goals = latents.roll(-1, 0)
        shares = torch.arange(frames) / frames
        if self.latent == "uniform":
            return [torch.lerp(latents, goals, share) for share in shares]
        cosine = nn.functional.cosine_similarity(latents, goals, dim=1).clamp(-0.9999, 0.9999)
        angle = cosine.acos()[:, None]
        return [(((1 - t) * angle).sin() * latents + (t * angle).sin() * goals) / angle.sin() for t in shares]
