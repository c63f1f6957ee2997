"""Games in miniature, which the engine trains without knowing them: a head of two players, no discriminator."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from conftest import engine, fit
from sparring.games.game import Game


def flat(batch, name="images"):
    return batch[name].flatten(1).float() / 127.5 - 1


# ---- a head on the discriminator's trunk that both train (InfoGAN's shape) -----------------------------------------


class Coded(Game):
    """G's latent carries a code; a head on D's trunk reads it back, and both players learn to make that possible."""

    def __init__(self, size=64, codes=3):
        super().__init__()
        self.generator = nn.Linear(8 + codes, size)
        self.trunk, self.verdict, self.head = nn.Linear(size, 16), nn.Linear(16, 1), nn.Linear(16, codes)
        self.codes = codes

    @property
    def players(self):
        return {"discriminator": [self.trunk, self.verdict, self.head], "generator": [self.generator, self.head]}

    @property
    def producer(self):
        return self.generator

    def latents(self, draws):
        code = draws.choice("codes", torch.ones(self.codes))
        return torch.cat([F.one_hot(code, self.codes), draws.normal("latents", 8)], dim=1)

    def produce(self, latents, condition=None, producer=None):
        return (producer or self.generator)(latents)

    def terms(self, player, turn):
        features = F.leaky_relu(self.trunk(turn.fakes))
        code = turn.latents[:, : self.codes].argmax(1)
        terms = {"code": F.cross_entropy(self.head(features), code)}
        fake = self.verdict(features)
        if player == "generator":
            return terms | {"adversarial": F.softplus(-fake).mean()}
        real = self.verdict(F.leaky_relu(self.trunk(flat(turn.batch))))
        return terms | {"adversarial": (F.softplus(-real) + F.softplus(fake)).mean()}


def test_a_head_on_the_discriminators_trunk_is_trained_by_both_players():
    game = Coded()
    heads = []
    game.after = lambda player, turn: heads.append(game.head.weight.detach().clone())
    trunks = []
    terms = game.terms

    def record(player, turn):
        trunks.append((player, game.trunk.weight.requires_grad, game.head.weight.requires_grad))
        return terms(player, turn)

    game.terms = record
    module = engine(game, lr=1e-2)
    fit(module, 60)
    assert trunks[:2] == [("discriminator", True, True), ("generator", False, True)]
    assert not torch.equal(heads[0], heads[1]) and not torch.equal(heads[1], heads[2])
    assert module.latest["generator/code"] < 0.3  # from ln 3: the code can be read back


# ---- no discriminator at all (a VAE's shape) -----------------------------------------------------------------------


class Autoencoder(Game):
    """One player, whose loss is reconstruction and divergence from the prior."""

    draws_reals = frozenset({"autoencoder"})

    def __init__(self, size=64, latent_dim=4):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(size, 2 * latent_dim), nn.Linear(latent_dim, size)

    @property
    def players(self):
        return {"autoencoder": [self.encoder, self.decoder]}

    @property
    def producer(self):
        return self.decoder

    def produce(self, latents, condition=None, producer=None):
        return (producer or self.decoder)(latents)

    def terms(self, player, turn):
        images = flat(turn.batch)
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        latents = mean + (log_variance / 2).exp() * turn.draws.normal("posterior", mean.shape[1])
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return {
            "reconstruction": (self.decoder(latents) - images).square().sum(1).mean(),
            "divergence": 0.01 * divergence.mean(),
        }


def test_a_game_without_a_discriminator_trains_counts_and_averages():
    module = engine(Autoencoder(), lr=1e-2, log_every=25)
    losses = []
    module.log_row = lambda row: losses.append(row["autoencoder/reconstruction"])
    trainer = fit(module, 100)
    assert trainer.global_step == 100 and module.kimg == pytest.approx(0.8)
    assert losses[-1] < losses[0] / 2
    assert not torch.equal(module.ema.network.weight, module.game.decoder.weight)
