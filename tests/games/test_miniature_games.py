"""Four games in miniature that the engine has to turn without knowing them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from conftest import blobs, engine, fit
from sparring.games.game import Game


def flat(batch, name="images"):
    return batch[name].flatten(1).float() / 127.5 - 1


# ---- two domains, two generators (CycleGAN's shape) --------------------------------------------------------------


class Translation(Game):
    """Two kinds of images as input, a generator each way, a discriminator each, tied by a cycle term."""

    draws_reals = frozenset({"discriminator", "generator"})

    def __init__(self, size=64):
        super().__init__()
        self.to_b, self.to_a = nn.Linear(size, size), nn.Linear(size, size)
        self.judge_a, self.judge_b = nn.Linear(size, 1), nn.Linear(size, 1)

    @property
    def players(self):
        return {"discriminator": [self.judge_a, self.judge_b], "generator": [self.to_b, self.to_a]}

    @property
    def producer(self):
        return self.to_b

    def produce(self, latents, condition=None, producer=None):
        return (producer or self.to_b)(latents)

    def terms(self, player, turn):
        a, b = flat(turn.batch), flat(turn.batch, "others")
        fake_b, fake_a = self.to_b(a), self.to_a(b)
        if player == "discriminator":
            judged = zip((self.judge_a, self.judge_b), (a, b), (fake_a, fake_b), strict=True)
            return {
                "adversarial": sum((judge(r) - 1).square().mean() + judge(f).square().mean() for judge, r, f in judged)
            }
        return {
            "adversarial": (self.judge_a(fake_a) - 1).square().mean() + (self.judge_b(fake_b) - 1).square().mean(),
            "cycle": 10 * (F.l1_loss(self.to_a(fake_b), a) + F.l1_loss(self.to_b(fake_a), b)),
        }


def test_two_generators_translate_between_two_domains():
    images = blobs(64)["images"]
    game = Translation()
    module = engine(game, columns={"images": images, "others": 255 - images}, lr=3e-3)
    before = F.l1_loss(game.to_a(game.to_b(flat({"images": images}))), flat({"images": images})).item()
    fit(module, 100)
    after = F.l1_loss(game.to_a(game.to_b(flat({"images": images}))), flat({"images": images})).item()
    assert after < before / 2
    assert {"generator/cycle", "generator/adversarial"} <= set(module.latest)


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


# ---- a state that changes after an update (clipping, pools, adaptive strengths) ------------------------------------


class Remembering(Game):
    """Keeps a buffer that moves after each of the discriminator's updates and takes part in the next loss."""

    def __init__(self, size=64):
        super().__init__()
        self.generator, self.judge = nn.Linear(8, size), nn.Linear(size, 1)
        self.register_buffer("level", torch.zeros(()))

    @property
    def players(self):
        return {"discriminator": [self.judge], "generator": [self.generator]}

    @property
    def producer(self):
        return self.generator

    def latents(self, draws):
        return draws.normal("latents", 8)

    def produce(self, latents, condition=None, producer=None):
        return (producer or self.generator)(latents)

    def terms(self, player, turn):
        fake = self.judge(turn.fakes)
        if player == "generator":
            return {"adversarial": -fake.mean()}
        return {"adversarial": (self.judge(flat(turn.batch)) - self.level).square().mean() + fake.square().mean()}

    def after(self, player, turn):
        if player == "discriminator":
            assert not torch.is_grad_enabled()
            self.level += 1


def test_a_state_that_changes_after_an_update_is_kept_in_the_checkpoint(tmp_path):
    def module():
        torch.manual_seed(0)
        return engine(Remembering(), n_dis=2)

    whole, part, again = module(), module(), module()
    fit(whole, 10)
    assert whole.game.level == 20
    fit(part, 4).save_checkpoint(tmp_path / "at4.ckpt")
    fit(again, 10, resume=tmp_path / "at4.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
