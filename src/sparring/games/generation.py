"""The original game: a generator makes images from noise, a discriminator tells them from real ones."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from sparring.errors import UserError
from sparring.games.game import Game
from sparring.losses import Loss
from sparring.play import Play
from sparring.randomness import Draws
from sparring.regularizers import Regularizer


class Generation(Game):
    """Image generation from latents, optionally given a class label.

    Args:
        generator: latents (batch, latent_dim), labels (batch,) or None -> images (batch, C, H, W) in [-1, 1].
        discriminator: images, labels or None -> logits (batch,).
        loss: what each player minimises.
        regularizers: by name; each joins the turn it belongs to.
        latent_dim: size of the noise vector.
        latent: ``normal``, N(0, 1), or ``uniform``, U(-1, 1).
        conditional: both networks see the class label.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: Loss,
        regularizers: Mapping[str, Regularizer] | None = None,
        latent_dim: int = 100,
        latent: Literal["normal", "uniform"] = "normal",
        conditional: bool = False,
    ):
        super().__init__(regularizers)
        self.generator = generator
        self.discriminator = discriminator
        self.loss = loss
        self.latent_dim = latent_dim
        self.latent = latent
        self.conditional = conditional
        if loss.generator_needs_reals:
            self.draws_reals = frozenset({"discriminator", "generator"})

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        return {"discriminator": [self.discriminator], "generator": [self.generator]}

    @property
    def producer(self) -> nn.Module:
        return self.generator

    def terms(self, player: str, play: Play) -> dict[str, Tensor]:
        if player == "discriminator":
            adversarial = self.loss.discriminator(play.real_logits, play.fake_logits)
            self._note(play)
        else:
            reals = play.real_logits if self.loss.generator_needs_reals else None
            adversarial = self.loss.generator(play.fake_logits, reals)
        return {"adversarial": adversarial.mean()} | self.regularization(player, play)

    def produce(self, latents: Tensor, condition: Tensor | None = None, producer: nn.Module | None = None) -> Tensor:
        return (producer or self.generator)(latents, condition)

    def condition(self, batch: dict[str, Tensor]) -> Tensor | None:
        return batch["labels"] if self.conditional else None

    def latents(self, draws: Draws) -> Tensor:
        if self.latent == "normal":
            return draws.normal("latents", self.latent_dim)
        return draws.uniform("latents", self.latent_dim).mul_(2).sub_(1)

    def truncate(self, latents: Tensor, limit: float) -> Tensor:
        """The same normal latents squeezed into [-limit, limit] by their quantiles: fewer oddities, less variety.

        The truncation trick of Brock et al. 2019 (BigGAN, section 3.1), without drawing anew.
        """
        if self.latent != "normal" or limit <= 0:
            raise UserError(f"sample.truncation={limit}: must be above 0, for model.latent=normal (here {self.latent})")
        low, high = (torch.special.ndtr(torch.tensor(x)) for x in (-limit, limit))
        return torch.special.ndtri(low + torch.special.ndtr(latents) * (high - low))

    def interpolate(self, latents: Tensor, frames: int) -> list[Tensor]:
        """``frames`` batches of latents that go from each latent to the next, the last one's next being the first.

        On the sphere for normal latents, whose lengths vary little; straight for uniform ones.
        """
        goals = latents.roll(-1, 0)
        shares = torch.arange(frames) / frames
        if self.latent == "uniform":
            return [torch.lerp(latents, goals, share) for share in shares]
        cosine = nn.functional.cosine_similarity(latents, goals, dim=1).clamp(-0.9999, 0.9999)
        angle = cosine.acos()[:, None]
        return [(((1 - t) * angle).sin() * latents + (t * angle).sin() * goals) / angle.sin() for t in shares]

    def discriminate(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.discriminator(images, condition)

    def _note(self, play: Play) -> None:
        """How the game stands: D's belief, how often it ranks a real above a fake, and how much the fakes differ."""
        real, fake = play.real_logits.detach(), play.fake_logits.detach()
        play.notes["D(x)"] = self.loss.belief(real).mean()
        play.notes["D(G(z))"] = self.loss.belief(fake).mean()
        if play.watched:
            play.notes["separation"] = (real[:, None] > fake[None, :]).float().mean()
            if len(real) > 1:
                spread = play.reals.std(0).mean().clamp(min=1e-6)
                play.notes["diversity"] = play.fakes.detach().float().std(0).mean() / spread
