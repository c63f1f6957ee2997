"""ACGAN and InfoGAN: what their heads learn, who trains them, and what they mean for the images."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from conftest import blobs, engine, fit
from sparring import losses
from sparring.evaluation.sampler import Sampler
from sparring.games.acgan import ACGAN
from sparring.games.infogan import InfoGAN
from sparring.games.turn import Turn
from sparring.networks import dcgan, mlp
from sparring.randomness import Draws


def acgan(family=mlp, classes=3, **options):
    torch.manual_seed(0)
    extra = {"dropout": 0.0} if family is mlp else {"norm": "none"}
    return ACGAN(
        generator=family.Generator(8, 1, latent_dim=4, width=16, num_classes=classes),
        discriminator=family.Discriminator(8, 1, width=16, **extra),
        loss=options.pop("loss", losses.NonSaturating()),
        latent_dim=4,
        conditional=True,
        classes=classes,
        **options,
    )


def infogan(family=mlp, latent_dim=9, **options):
    torch.manual_seed(0)
    extra = {"dropout": 0.0} if family is mlp else {"norm": "none"}
    return InfoGAN(
        generator=family.Generator(8, 1, latent_dim=latent_dim, width=16),
        discriminator=family.Discriminator(8, 1, width=16, **extra),
        loss=losses.NonSaturating(),
        latent_dim=latent_dim,
        **({"categorical": [3], "continuous": 2, "hidden": 16} | options),
    )


def turn_of(game, player, count=6):
    batch = {name: column[:count] for name, column in blobs(classes=3).items()}
    return Turn(game, player, batch, Draws((0, player), count, slice(0, count)))


def owners(game, player, term):
    """Which networks a term of a player's turn trains."""
    for parameter in game.parameters():
        parameter.requires_grad_(False)
    for network in game.players[player]:
        network.requires_grad_(True)
    game.terms(player, turn_of(game, player))[term].backward()
    found = {name.partition(".")[0] for name, p in game.named_parameters() if p.grad is not None and p.grad.any()}
    game.zero_grad()
    return found


# ---- ACGAN ------------------------------------------------------------------------------------------------------


def test_both_players_want_fakes_to_be_recognised_and_d_learns_from_reals_too():
    game = acgan()
    turn = turn_of(game, "discriminator")
    by_hand = [F.cross_entropy(game.classifier(game.features(x)), turn.condition) for x in (turn.reals, turn.fakes)]
    terms = game.terms("discriminator", turn)
    torch.testing.assert_close(terms["classification"], sum(by_hand))
    turn = turn_of(game, "generator")
    fakes = F.cross_entropy(game.classifier(game.features(turn.fakes)), turn.condition)
    torch.testing.assert_close(game.terms("generator", turn)["classification"], fakes)


def test_acgans_class_head_belongs_to_the_discriminator():
    assert owners(acgan(), "discriminator", "classification") == {"discriminator", "classifier"}
    assert owners(acgan(), "generator", "classification") == {"generator"}


@pytest.mark.parametrize("loss", [losses.NonSaturating(), losses.Relativistic()])
def test_acgans_logits_are_those_of_its_discriminator_from_one_pass(loss):
    game, passes = acgan(loss=loss), []
    game.discriminator.layers.register_forward_hook(lambda *_: passes.append(1))
    turn = turn_of(game, "generator")
    game.terms("generator", turn)
    assert len(passes) == 1 + loss.generator_needs_reals
    torch.testing.assert_close(turn.fake_logits, game.discriminate(turn.fakes))


@pytest.mark.slow
def test_acgan_learns_to_make_the_class_that_is_asked_for():
    game = acgan()
    fit(engine(game, blobs(classes=3), batch_size=32, lr=2e-3), 300)
    labels = torch.arange(30) % 3
    images = Sampler(game, game.generator).show(torch.randn(30, 4), labels).float()
    quarters = images.unfold(2, 4, 4).unfold(3, 4, 4).mean((1, 4, 5)).flatten(1)  # the bright square tells the class
    assert (quarters.argmax(1) == labels).float().mean() > 0.9


def test_acgan_without_labels_is_refused():
    with pytest.raises(ValueError, match="needs labels"):
        acgan(classes=1)


# ---- InfoGAN ----------------------------------------------------------------------------------------------------


def test_latents_are_noise_then_one_hot_codes_then_continuous_ones():
    game = infogan(categorical=[3, 2], latent_dim=11)
    latents = game.latents(Draws((0,), 3000, slice(0, 3000)))
    assert game.noise_dim == 4 and latents.shape == (3000, 11)
    first, second, continuous = latents[:, 4:7], latents[:, 7:9], latents[:, 9:]
    for code, values in ((first, 3), (second, 2)):
        assert torch.equal(code.sort(1, descending=True).values[:, 0], torch.ones(3000)) and (code.sum(1) == 1).all()
        torch.testing.assert_close(code.mean(0), torch.full((values,), 1 / values), rtol=0, atol=0.04)
    assert -1 <= continuous.min() < -0.99 and 0.99 < continuous.max() < 1
    pairs = torch.corrcoef(torch.cat([first[:, :2], second[:, :1], continuous], 1).T).fill_diagonal_(0)[2:, 2:]
    assert pairs.abs().max() < 0.06, "codes are drawn apart from each other"


def test_information_is_the_negative_log_likelihood_of_the_codes():
    game = infogan()
    turn = turn_of(game, "generator")
    terms = game.terms("generator", turn)
    read = game.reader(game.features(turn.fakes))
    codes = turn.latents[:, 4:]
    categorical = torch.distributions.Categorical(logits=read[:, :3]).log_prob(codes[:, :3].argmax(1))
    gaussian = torch.distributions.Normal(read[:, 3:], 1.0).log_prob(codes[:, 3:]).sum(1)
    torch.testing.assert_close(terms["information"], -categorical.mean())
    torch.testing.assert_close(terms["information_continuous"], -0.1 * gaussian.mean())


def test_the_head_belongs_to_the_discriminator_and_both_players_minimise():
    for term in ("information", "information_continuous"):
        assert owners(infogan(), "discriminator", term) == {"discriminator", "reader"}
        assert owners(infogan(), "generator", term) == {"generator"}


@pytest.mark.slow
def test_the_codes_can_be_read_back_after_training():
    game = infogan()
    module = engine(game, batch_size=32, lr=2e-3, log_every=200)
    fit(module, 200)
    assert module.latest["generator/information"] < math.log(3) / 2, "guessing costs log 3"


def test_a_traversal_changes_one_code_and_keeps_everything_else():
    game = infogan()
    latents = game.latents(Draws((0,), 4, slice(0, 4)))
    walks = game.traversals(latents)
    assert {name: len(walk) for name, walk in walks.items()} == {"code-0": 3, "continuous-0": 10, "continuous-1": 10}
    for value, step in enumerate(walks["code-0"]):
        assert torch.equal(step[:, 4:7].argmax(1), torch.full((4,), value))
        assert torch.equal(step[:, :4], latents[:, :4]) and torch.equal(step[:, 7:], latents[:, 7:])
    ends = walks["continuous-1"][0], walks["continuous-1"][-1]
    assert (ends[0][:, 8] == -1).all() and (ends[1][:, 8] == 1).all() and torch.equal(ends[0][:, :8], latents[:, :8])


def test_truncation_squeezes_the_noise_and_leaves_the_codes():
    game = infogan()
    latents = game.latents(Draws((0,), 50, slice(0, 50)))
    squeezed = game.truncate(latents, 0.5)
    assert squeezed[:, :4].abs().max() <= 0.5 and torch.equal(squeezed[:, 4:], latents[:, 4:])
    first = game.interpolate(latents, 5)[0]
    torch.testing.assert_close(first, latents)


def test_codes_that_leave_no_noise_are_refused():
    with pytest.raises(ValueError, match="latent_dim=5: .* 3 numbers of categorical ones and 2 continuous"):
        infogan(latent_dim=5)


@pytest.mark.parametrize("family", [mlp, dcgan])
@pytest.mark.parametrize("make", [acgan, infogan])
def test_they_train_with_either_family(make, family):
    game = make(family)
    module = engine(game, blobs(32, classes=3))
    before = {name: value.clone() for name, value in game.named_parameters()}
    fit(module, 2)
    module.check_finite()
    assert all(not torch.equal(before[name], value) for name, value in game.named_parameters() if value.ndim > 1)
    assert isinstance(game, nn.Module)
