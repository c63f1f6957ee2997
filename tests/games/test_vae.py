"""The VAE's bound against PyTorch's own distributions, and who of a VAE-GAN learns from what, by hand."""

import math

import pytest
import torch
from PIL import Image
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torchvision.transforms.functional import pil_to_tensor

from conftest import blobs, engine, fit
from sparring.config.errors import UserError
from sparring.evaluation.sampler import Sampler
from sparring.games.generation import Generation
from sparring.games.turn import Turn
from sparring.games.vae import VAE, Posterior
from sparring.games.vae_gan import VAEGAN
from sparring.losses import Relativistic, Wasserstein
from sparring.networks import dcgan, mlp
from sparring.networks.base_discriminator import BaseDiscriminator
from sparring.randomness import Draws
from sparring.regularizers.consistency import LatentDiversity
from sparring.regularizers.generator import FeatureMatching, TopK
from sparring.regularizers.gradients import R1
from sparring.training.callbacks.sample_grids import SampleGrids
from sparring.training.optimizers import PlayerOptimizer
from turns import check_gradients
from turns import float64 as float64

pytestmark = pytest.mark.usefixtures("float64")

PIXELS = torch.tensor([[0, 255, 51, 204], [255, 255, 0, 102], [26, 77, 128, 179]], dtype=torch.uint8).view(3, 1, 2, 2)


class Reading(BaseDiscriminator):
    """Features that are a smooth mix of the four pixels."""

    def __init__(self, dim: int = 5):
        super().__init__(dim)
        self.mix = nn.Linear(4, dim)

    def features(self, images):
        return self.mix(images.flatten(1)).tanh()


class Decoder(nn.Module):
    """tanh(A z + b), (batch, 1, 2, 2)."""

    def __init__(self, latent_dim: int = 2):
        super().__init__()
        self.linear = nn.Linear(latent_dim, 4)

    def forward(self, latents, labels=None):
        return self.linear(latents).tanh().view(-1, 1, 2, 2)


def a_vae(**options) -> VAE:
    torch.manual_seed(0)
    return VAE(Decoder(), Reading(), latent_dim=2, **options)


def a_vae_gan(loss=None, **options) -> VAEGAN:
    torch.manual_seed(0)
    parts = {"generator": Decoder(), "discriminator": Reading(), "encoder": Reading(), "loss": loss or Wasserstein()}
    return VAEGAN(**parts, latent_dim=2, **options)


def draws(count: int, *key) -> Draws:
    return Draws((0, *key), count, slice(0, count))


def a_turn(game, player="generator") -> Turn:
    return Turn(game, player, {"images": PIXELS}, draws(3, player))


# ---- the bound --------------------------------------------------------------------------------------------------


def saying(mean: list[float], log_variance: list[float]) -> Posterior:
    """A posterior that is the same for every image."""
    posterior = Posterior(Reading(), len(mean))
    nn.init.zeros_(posterior.head.weight)
    posterior.head.bias.data = torch.tensor(mean + log_variance)
    return posterior


def test_the_divergence_from_the_prior_is_the_closed_form():
    posterior = saying([1.0, -2.0], [math.log(4), 0.0])
    _, kl = posterior.sample(PIXELS / 127.5 - 1, draws(3))
    assert kl.tolist() == pytest.approx([(1 + 4 - 1 - math.log(4)) / 2 + (4 + 1 - 1 - 0) / 2] * 3)
    expected = kl_divergence(Normal(torch.tensor([1.0, -2]), torch.tensor([2.0, 1])), Normal(0.0, 1.0)).sum()
    assert kl.tolist() == pytest.approx([expected.item()] * 3)
    assert saying([0.0], [0.0]).sample(PIXELS / 127.5 - 1, draws(3))[1].tolist() == [0, 0, 0]


def test_what_is_drawn_has_the_posteriors_mean_and_deviation():
    z, _ = saying([1.0, -2.0], [math.log(4), math.log(0.25)]).sample(torch.zeros(20_000, 1, 2, 2), draws(20_000))
    torch.testing.assert_close(z.mean(0), torch.tensor([1.0, -2]), atol=0.05, rtol=0)
    torch.testing.assert_close(z.std(0), torch.tensor([2.0, 0.5]), atol=0.03, rtol=0)
    assert abs(torch.corrcoef(z.T)[0, 1]) < 0.03


@pytest.mark.parametrize("sigma", [0.3, 1.7])
def test_a_gaussian_likelihood_is_the_density_with_its_constant(sigma):
    images, means = PIXELS / 127.5 - 1, torch.linspace(-1, 1, 12).view(3, 1, 2, 2)
    expected = -Normal(means, sigma).log_prob(images).flatten(1).sum(1)
    torch.testing.assert_close(a_vae(sigma=sigma).nll(images, means), expected)


def test_a_bernoulli_likelihood_is_the_cross_entropy_of_grey_values():
    means = torch.linspace(-0.9, 0.9, 12).view(3, 1, 2, 2)
    chances = Bernoulli((means + 1) / 2)
    black_or_white = (PIXELS > 99).double() * 2 - 1
    game = a_vae(likelihood="bernoulli")
    expected = -chances.log_prob((black_or_white + 1) / 2).flatten(1).sum(1)
    torch.testing.assert_close(game.nll(black_or_white, means), expected)
    images = PIXELS / 127.5 - 1
    one, zero = (chances.log_prob(torch.full_like(means, value)) for value in (1.0, 0.0))
    grey = PIXELS / 255
    torch.testing.assert_close(game.nll(images, means), -(grey * one + (1 - grey) * zero).flatten(1).sum(1))
    assert game.nll(images, images.sign()).isfinite().all(), "also of certain pixels"


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_log_tells_the_bound_itself_whatever_beta_is(likelihood):
    game = a_vae(likelihood=likelihood, beta=3.0)
    terms = game.terms("generator", turn := a_turn(game))
    z, kl = game.posterior.sample(turn.reals, turn.draws)
    reconstruction = game.nll(turn.reals, game.generator(z)).mean()
    expected = {"reconstruction": reconstruction.item(), "kl": 3 * kl.mean().item()}
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected)
    assert turn.notes["elbo"].item() == pytest.approx(-(reconstruction + kl.mean()).item())


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_gradients_reach_every_weight_of_encoder_and_decoder(likelihood):
    game = a_vae(likelihood=likelihood)
    weights = [game.posterior.trunk.mix.weight, game.posterior.head.weight, game.generator.linear.weight]
    check_gradients(lambda: sum(game.terms("generator", a_turn(game)).values()), weights)


def test_the_bound_lies_below_the_likelihood_of_the_data():
    """log p(x), by integrating over the latents: 200 steps an axis."""
    game = a_vae(sigma=0.5)
    images = PIXELS / 127.5 - 1
    steps = torch.linspace(-6, 6, 200)
    z = torch.cartesian_prod(steps, steps)
    prior = Normal(0.0, 1.0).log_prob(z).sum(1) + 2 * math.log(12 / 199)
    made = game.generator(z)
    whole = torch.stack([(prior - game.nll(x.expand_as(made), made)).logsumexp(0) for x in images]).mean()
    bounds = []
    for i in range(200):
        turn = Turn(game, "generator", {"images": PIXELS}, draws(3, i))
        game.terms("generator", turn)
        bounds.append(turn.notes["elbo"].item())
    assert sum(bounds) / 200 < whole.item()


def test_encoder_and_decoder_learn_in_one_turn():
    game = VAE(
        dcgan.Generator(8, 1, latent_dim=3, width=4), dcgan.Discriminator(8, 1, width=4), latent_dim=3, sigma=0.3
    )
    module = engine(game, lr=0.01, log_every=15)
    start = {name: value.clone() for name, value in game.named_parameters()}
    fit(module, 15, precision="64-true")
    first = module.latest["elbo"]
    still = {name for name, value in game.named_parameters() if torch.equal(value, start[name])}
    assert still == {"posterior.trunk.head.linear.weight", "posterior.trunk.head.linear.bias"}, "D's head has no use"
    fit(module, 60, precision="64-true")
    assert module.latest["elbo"] > first + 10


def test_encoder_and_decoder_are_told_the_label():
    options = {"latent_dim": 3, "conditional": True, "num_classes": 3}
    game = VAE(mlp.Generator(8, 1, latent_dim=3, width=4, num_classes=3), dcgan.Discriminator(8, 1, width=4), **options)
    z = torch.zeros(3, 3)
    assert game.produce(z, game.condition({"labels": torch.arange(3)}, draws(3))).unique(dim=0).shape[0] == 3
    fit(engine(game), 1, precision="64-true")
    one = torch.zeros(3, 1, 8, 8, dtype=torch.float64)
    mean, log_variance = game.posterior.eval()(one, torch.arange(3))
    assert all(found.unique(dim=0).shape[0] == 3 for found in (mean, log_variance))


def test_what_a_vae_has_no_use_for_is_refused():
    for regularizer, said in (
        (R1(), "turn of a discriminator"),
        (TopK(), "needs a discriminator"),
        (FeatureMatching(), "needs a discriminator"),
    ):
        game = a_vae(regularizers={"it": regularizer})
        with pytest.raises(UserError, match=f"regularizer.it: .*{said}"):
            game.check_fits(game.producer, {"images": PIXELS})
    game = a_vae(regularizers={"it": LatentDiversity(0.1)})
    game.check_fits(game.producer, {"images": PIXELS})
    assert set(game.terms("generator", a_turn(game))) == {"reconstruction", "kl", "it"}


@pytest.mark.parametrize("kind", ["vae", "vae-gan"])
def test_an_encoder_that_makes_no_vector_is_refused(kind):
    game = a_vae() if kind == "vae" else a_vae_gan()
    game.check_fits(game.producer, {"images": PIXELS})
    game.posterior.trunk.features = lambda images: images
    with pytest.raises(UserError, match=r"model.encoder: .* \(1, 2, 2\), and must be a vector"):
        game.check_fits(game.producer, {"images": PIXELS})


# ---- VAE-GAN ----------------------------------------------------------------------------------------------------


def by_hand(game: VAEGAN, turn: Turn) -> dict[str, torch.Tensor]:
    """What the paper's algorithm names, of the same numbers."""
    x, judge = turn.batch["images"] / 127.5 - 1, game.discriminator
    mean, log_variance = game.posterior(x)
    z = mean + (log_variance / 2).exp() * turn.draws.normal("posterior", 2)
    again, sample = game.generator(z), game.generator(turn.draws.normal("latents", 2))
    return {
        "features": (judge.features(x) - judge.features(again)).square().sum(1).mean() / 2,
        "kl": kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1).mean(),
        "real": judge(x).mean(),
        "again": judge(again).mean(),
        "sample": judge(sample).mean(),
    }


def values(terms: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: term.item() for name, term in terms.items()}


def test_its_players_terms_are_those_worked_out_by_hand():
    game = a_vae_gan(feature_weight=0.5)
    assert list(game.players) == ["discriminator", "encoder", "generator"]
    for player in game.players:
        found = by_hand(game, turn := a_turn(game, player))
        expected = {
            "discriminator": {"adversarial": (found["again"] + found["sample"]) / 2 - found["real"]},
            "encoder": {"features": found["features"], "kl": found["kl"]},
            "generator": {
                "adversarial": -(found["again"] + found["sample"]) / 2,
                "features": 0.5 * found["features"],
            },
        }[player]
        assert values(game.terms(player, turn)) == pytest.approx(values(expected))


def test_a_loss_of_pairs_compares_reals_with_either_kind_of_fakes():
    game = a_vae_gan(Relativistic())
    turn = a_turn(game)
    z, _ = game.posterior.sample(turn.reals, turn.draws)
    real, again, sample = (game.discriminator(x) for x in (turn.reals, game.generator(z), turn.fakes))
    expected = (nn.functional.softplus(real - again) + nn.functional.softplus(real - sample)).mean() / 2
    assert game.terms("generator", turn)["adversarial"].item() == pytest.approx(expected.item())


def test_each_learns_from_its_own_terms_alone():
    """What one step of gradient descent takes from every weight, in the engine, is the gradient by hand."""
    game = a_vae_gan(feature_weight=0.5)
    sgd = {player: PlayerOptimizer(lambda parameters: torch.optim.SGD(parameters, 1.0)) for player in game.players}
    networks = {"discriminator": game.discriminator, "encoder": game.posterior, "generator": game.generator}
    expected, taken = {}, {}
    terms = game.terms

    def watched(player, turn):
        found = by_hand(game, turn)
        loss = {
            "discriminator": lambda: (found["again"] + found["sample"]) / 2 - found["real"],
            "encoder": lambda: found["features"] + found["kl"],
            "generator": lambda: 0.5 * found["features"] - (found["again"] + found["sample"]) / 2,
        }[player]()
        weights = {n: p for n, p in game.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        expected[player] = {n: g for n, g in zip(weights, gradients, strict=True) if g is not None}
        taken[player] = {n: p.detach().clone() for n, p in game.named_parameters()}
        return terms(player, turn)

    def after(player, turn):
        now = dict(game.named_parameters())
        taken[player] = {n: before - now[n].detach() for n, before in taken[player].items()}

    game.terms, game.after = watched, after
    fit(engine(game, {"images": PIXELS}, batch_size=3, optimizers=sgd), 1, precision="64-true")
    for player, network in networks.items():
        own = {id(p) for p in network.parameters()}
        assert {id(dict(game.named_parameters())[n]) for n in expected[player]} <= own and expected[player]
        for name, difference in taken[player].items():
            wanted = expected[player].get(name, torch.zeros_like(difference))
            torch.testing.assert_close(difference, wanted, atol=1e-12, rtol=1e-9)


def test_it_trains_with_penalties_and_labels():
    sizes = {"width": 4, "num_classes": 3}
    game = VAEGAN(
        generator=dcgan.Generator(8, 1, latent_dim=3, **sizes),
        discriminator=dcgan.Discriminator(8, 1, norm="none", **sizes),
        encoder=dcgan.Discriminator(8, 1, width=4),
        loss=Wasserstein(),
        regularizers={"r1": R1(), "fm": FeatureMatching()},
        latent_dim=3,
        conditional=True,
    )
    module = engine(game, blobs(24), log_every=2, n_dis=2)
    game.check_fits(game.producer.eval(), blobs(24))
    fit(module, 2, precision="64-true")
    assert {"encoder/kl", "encoder/features", "generator/features", "generator/fm", "discriminator/r1"} <= set(
        module.latest
    )


def test_the_bound_of_held_out_examples_is_among_the_scores():
    game = a_vae(sigma=0.5)
    columns = {"images": torch.randint(0, 256, (70, *PIXELS.shape[1:]), dtype=torch.uint8)}
    sampler = Sampler(game.train(), game.producer, examples=columns)
    scores = sampler.own_scores()
    assert set(scores) == {"elbo", "reconstruction", "kl"} and game.training
    assert scores["elbo"] == pytest.approx(-scores["reconstruction"] - scores["kl"])
    _, kl = game.posterior.sample(game.reals(columns), draws(70))
    assert scores["kl"] == pytest.approx(kl.mean().item()), "which does not depend on what is drawn"
    assert scores == sampler.own_scores() == pytest.approx(Sampler(game, game.producer, examples=columns).own_scores())
    assert Sampler(game, game.producer).own_scores() == {}


@pytest.mark.parametrize("make", [a_vae, a_vae_gan])
def test_what_is_made_of_examples_is_the_decoded_mean_of_their_posterior(make):
    game, average = make(), Decoder()
    mean, _ = game.posterior(PIXELS / 127.5 - 1)
    shown = Sampler(game, average).reconstructions({"images": PIXELS})
    assert torch.equal(shown, game.as_data(average(mean)))
    other = Sampler(Generation(generator=Decoder(), discriminator=Reading(), loss=Wasserstein(), latent_dim=2), average)
    assert other.reconstructions({"images": PIXELS}) is None


def test_examples_of_all_the_data_are_shown_beside_what_is_made_of_them(tmp_path):
    sizes = {"width": 4, "norm": "none"}
    encoder = dcgan.Discriminator(8, 1, **sizes)
    game = VAE(dcgan.Generator(8, 1, latent_dim=3, width=4), encoder, latent_dim=3)
    columns = {"images": torch.arange(0, 240, 4, dtype=torch.uint8).view(60, 1, 1, 1).expand(60, 1, 8, 8)}
    grids = SampleGrids(tmp_path, every_kimg=1.0, count=16)
    fit(engine(game, columns), 1, callbacks=[grids], precision="64-true")
    picture = pil_to_tensor(Image.open(tmp_path / "reconstructions-kimg-0000000.000.png"))[0]
    cells = picture[2:, 2:].unfold(0, 8, 10).unfold(1, 8, 10)
    shown = cells.flatten(0, 1)[:, 0, 0][::2].tolist()
    assert shown == sorted(shown) and shown[0] == 0 and shown[-1] == 236, "not only the first ones"
