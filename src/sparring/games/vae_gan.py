"""A VAE and a GAN that share the decoder."""

from pydantic import NonNegativeFloat
from torch import Tensor, nn

from sparring.games.turn import Turn
from sparring.games.two_player import TwoPlayer
from sparring.games.vae import Autoencoder, Posterior
from sparring.networks.arguments import Classes, Width
from sparring.networks.base_discriminator import BaseDiscriminator


class VAEGAN(Autoencoder, TwoPlayer):
    """A VAE whose images are compared in the discriminator's features, and judged (Larsen et al. 2016, algorithm 1).

    The discriminator judges reals, reconstructions and images of the prior, both kinds of fakes in equal parts. Terms
    of the encoder: ``kl`` and ``features``, |h(x) - h(G(z))|^2 / 2, with h D's features (an inner layer in the paper).
    Of the generator: the adversarial term and ``feature_weight`` times ``features``.

    Args:
        encoder: a discriminator, whose features are used.
        latent_dim: length of z.
        conditional: all networks see the label.
        num_classes: number of labels then.
        feature_weight: gamma.
        options: those of ``TwoPlayer``.
    """

    reads_features = True
    draws_reals = frozenset({"discriminator", "encoder", "generator"})

    def __init__(
        self,
        *,
        encoder: BaseDiscriminator,
        latent_dim: Width = 32,
        conditional: bool = False,
        num_classes: Classes = 0,
        feature_weight: NonNegativeFloat = 1e-2,
        **options,
    ):
        super().__init__(**options)
        self.draws_reals = VAEGAN.draws_reals
        self.posterior = Posterior(encoder, latent_dim, num_classes)
        self.latent_dim, self.conditional, self.feature_weight = latent_dim, conditional, feature_weight

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        return {"discriminator": [self.discriminator], "encoder": [self.posterior], "generator": [self.generator]}

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        z, kl = self.posterior.sample(turn.reals, turn.draws, turn.condition)
        images = self.produce(z, turn.condition)
        features = self.features(turn.augmented(images, "fake"), turn.condition)
        distance = (turn.real_features.detach() - features).square().flatten(1).sum(1).mean() / 2
        if player == "encoder":
            return {"features": distance, "kl": kl.mean()}
        terms = super().terms(player, turn)  # of images of the prior
        logits = self.judge_features(features, turn.condition)
        if player == "discriminator":
            adversarial = self.loss.discriminator(turn.real_logits, logits).mean()
        else:
            adversarial = self._mixed(self.loss.generator(logits, turn.real_logits).mean(0))
            terms["features"] = self.feature_weight * distance
        return terms | {"adversarial": (terms["adversarial"] + adversarial) / 2}
