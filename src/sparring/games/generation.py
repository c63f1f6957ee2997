"""The original game: a generator makes images from noise, a discriminator tells them from real ones."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from sparring.augment import Augment
from sparring.errors import UserError
from sparring.games.game import Game
from sparring.losses import Loss
from sparring.networks.layers import Several, normalize_spectrally
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
        augment: of what the discriminator sees.
        latent_dim: size of the noise vector.
        latent: ``normal``, N(0, 1), or ``uniform``, U(-1, 1).
        conditional: both networks see the class label.
        spectral_norm: divide the discriminator's weights by their largest singular value (Miyato et al. 2018).
        packing: images that the discriminator sees together, stacked by channel, and tells apart as one
            (Lin et al. 2018, PacGAN); its network then has that many times the channels.
        others: further discriminators. They learn by the mean of their losses; the generator's is ``mix`` of theirs.
        mix: ``mean``, ``max`` (the harshest), or ``softmax``, the mean weighted by the softmax of the losses
            (Durugkar et al. 2017, GMAN, section 4.1 with lambda 1).
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: Loss,
        regularizers: Mapping[str, Regularizer] | None = None,
        augment: Augment | None = None,
        latent_dim: int = 100,
        latent: Literal["normal", "uniform"] = "normal",
        conditional: bool = False,
        spectral_norm: bool = False,
        packing: int = 1,
        others: Sequence[nn.Module] = (),
        mix: Literal["mean", "max", "softmax"] = "mean",
    ):
        super().__init__(regularizers, augment)
        if packing < 1:
            raise ValueError(f"packing={packing}: images that are judged together; 1 for each by itself")
        if packing > 1 and conditional:
            raise ValueError(
                f"packing={packing}: a pack has no one label, so it is for models without (conditional=false)"
            )
        self.generator = generator
        self.discriminator = Several([discriminator, *others]) if others else discriminator
        if spectral_norm:
            normalize_spectrally(self.discriminator)
        self.loss = loss
        self.latent_dim = latent_dim
        self.latent = latent
        self.conditional = conditional
        self.packing = packing
        self.mix = mix
        if loss.generator_needs_reals or any(r.needs_reals for r in self.regularizers.values()):
            self.draws_reals = frozenset({"discriminator", "generator"})
        self.reads_features = self.reads_features or any(r.reads_features for r in self.regularizers.values())

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        return {"discriminator": [self.discriminator], "generator": [self.generator]}

    @property
    def producer(self) -> nn.Module:
        return self.generator

    def terms(self, player: str, play: Play) -> dict[str, Tensor]:
        if player == "discriminator":
            adversarial = self.loss.discriminator(play.real_logits, play.fake_logits).mean()
            self._note(play)
        else:
            reals = play.real_logits if self.loss.generator_needs_reals else None
            losses = self.loss.generator(play.fake_logits, reals)
            for regularizer in self.regularizers.values():
                losses = regularizer.choose(losses, play)
            adversarial = self._mixed(losses.mean(0))
        return {"adversarial": adversarial} | self.regularization(player, play)

    def _mixed(self, losses: Tensor) -> Tensor:
        """The generator's loss of one discriminator () or of each (discriminators,)."""
        if losses.ndim == 0 or self.mix == "mean":
            return losses.mean()
        return losses.max() if self.mix == "max" else (losses.softmax(0) * losses).sum()

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
        if hasattr(self.generator, "mapping"):
            raise UserError(f"sample.truncation={limit}: StyleGAN2 divides latents by their length, which undoes it")
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
        return self.discriminator(self._packs(images), condition)

    def features(self, images: Tensor) -> Tensor:
        return self.discriminator.features(self._packs(images))

    def judge_features(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.discriminator.verdict(features, condition)

    def _packs(self, images: Tensor) -> Tensor:
        """Images (batch, C, ...) as (batch / packing, packing * C, ...)."""
        if self.packing == 1:
            return images
        if len(images) % self.packing:
            raise UserError(
                f"model.packing={self.packing} does not divide data.batch_size={len(images)}: a pack is judged as one"
            )
        return images.reshape(-1, self.packing * images.shape[1], *images.shape[2:])

    def _note(self, play: Play) -> None:
        """How the game stands: D's belief, how often it ranks a real above a fake, and how much the fakes differ."""
        real, fake = play.real_logits.detach(), play.fake_logits.detach()
        play.notes["D(x)"] = self.loss.belief(real).mean()
        play.notes["D(G(z))"] = self.loss.belief(fake).mean()
        if self.augment is not None:
            self.augment.observe(play)
            play.notes |= self.augment.notes(play.kimg)
        if play.watched:
            play.notes["separation"] = (real[:, None] > fake[None]).float().mean()
            if len(real) > 1:
                spread = play.reals.std(0).mean().clamp(min=1e-6)
                play.notes["diversity"] = play.fakes.detach().float().std(0).mean() / spread
