"""The base of games of a generator against discriminators."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from sparring.augment.base import Augment
from sparring.games.game import Game
from sparring.games.turn import Turn
from sparring.losses import Loss
from sparring.networks.base_discriminator import Several
from sparring.networks.layers import normalize_spectrally
from sparring.regularizers.base import Regularizer


class TwoPlayer(Game):
    """A discriminator learns to tell fakes from reals, a generator to make fakes that pass for real.

    A game of this kind defines what the generator is given (``latents``, ``condition``, ``produce``) and what the
    discriminator is ``shown``, if that is more than the images.

    Args:
        generator: makes images (batch, C, H, W) in [-1, 1].
        discriminator: images, labels or None -> logits (batch,).
        loss: what each player minimises.
        regularizers: by name; each joins the turns of its player.
        augment: changes what the discriminator sees.
        spectral_norm: divide the discriminator's weights by their largest singular value (Miyato et al. 2018).
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
        spectral_norm: bool = False,
        others: Sequence[nn.Module] = (),
        mix: Literal["mean", "max", "softmax"] = "mean",
    ):
        super().__init__(regularizers, augment)
        self.generator = generator
        self.discriminator: Any = Several([discriminator, *others]) if others else discriminator
        if spectral_norm:
            normalize_spectrally(self.discriminator)
        self.loss = loss
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

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        if player == "discriminator":
            adversarial = self.loss.discriminator(turn.real_logits, turn.fake_logits).mean()
            self._note(turn)
        else:
            reals = turn.real_logits if self.loss.generator_needs_reals else None
            losses = self.loss.generator(turn.fake_logits, reals)
            for regularizer in self.regularizers.values():
                losses = regularizer.choose(losses, turn)
            adversarial = self._mixed(losses.mean(0))
        return {"adversarial": adversarial} | turn.regularization()

    def _mixed(self, losses: Tensor) -> Tensor:
        """Return the generator's loss () from that by one discriminator () or by each (discriminators,)."""
        if losses.ndim == 0 or self.mix == "mean":
            return losses.mean()
        return losses.max() if self.mix == "max" else (losses.softmax(0) * losses).sum()

    def shown(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Return what the discriminator is shown of images (batch, ...) and of the generator's condition."""
        return images

    def discriminate(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.discriminator(self.shown(images, condition), self._labels(condition))

    def features(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.discriminator.features(self.shown(images, condition))

    def judge_features(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.discriminator.verdict(features, self._labels(condition))

    def _labels(self, condition: Tensor | None) -> Tensor | None:
        return condition if self.conditional else None

    def _note(self, turn: Turn) -> None:
        """Note D's belief, how often D ranks a real above a fake, and how much the fakes differ."""
        real, fake = turn.real_logits.detach(), turn.fake_logits.detach()
        turn.notes["D(x)"] = self.loss.belief(real).mean()
        turn.notes["D(G(z))"] = self.loss.belief(fake).mean()
        if self.augment is not None:
            self.augment.observe(turn.real_logits, len(turn.reals))
            turn.notes |= self.augment.notes(turn.scheduled(self.augment.schedule))
        if turn.logged:
            some = slice(0, 1024)  # of a batch of patches, whose pairs would fill the memory
            turn.notes["separation"] = (real[some, None] > fake[None, some]).float().mean()
            if len(turn.reals) > 1:
                spread = turn.reals.std(0).mean().clamp(min=1e-6)
                turn.notes["diversity"] = turn.fakes.detach().float().std(0).mean() / spread
