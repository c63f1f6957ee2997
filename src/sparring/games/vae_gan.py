"""A VAE and a GAN in one."""

from torch import Tensor, nn

from sparring.games.turn import Turn
from sparring.games.two_player import TwoPlayer
from sparring.games.vae import Encoding, Posterior
from sparring.networks.layers import BaseDiscriminator


class VAEGAN(Encoding, TwoPlayer):
    """A VAE whose images are compared in the discriminator's features, and judged (Larsen et al. 2016, algorithm 1).

    The discriminator tells reals from reconstructions and from images of the prior, in equal parts. Encoder: ``kl`` and
    ``features``, |h(x) - h(G(z))|^2 / 2 summed over the numbers of h, what D's logits are read from (the paper: an inner
    layer). Generator: the adversarial term and ``feature_weight`` times ``features``.

    Args:
        encoder: a discriminator, of which the features are used.
        latent_dim: size of z.
        conditional: all networks are told the label.
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
        latent_dim: int = 32,
        conditional: bool = False,
        num_classes: int = 0,
        feature_weight: float = 1e-2,
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
        apart = (turn.real_features.detach() - features).square().flatten(1).sum(1).mean() / 2
        if player == "encoder":
            return {"features": apart, "kl": kl.mean()}
        terms = super().terms(player, turn)  # of images of the prior
        logits = self.judge_features(features, turn.condition)
        if player == "discriminator":
            judged = self.loss.discriminator(turn.real_logits, logits).mean()
        else:
            judged = self._mixed(self.loss.generator(logits, turn.real_logits).mean(0))
            terms["features"] = self.feature_weight * apart
        return terms | {"adversarial": (terms["adversarial"] + judged) / 2}
