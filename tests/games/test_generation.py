"""What a generation game may vary beside its networks: packs, several discriminators, spectral norm."""

import pytest
import torch
from torch import nn

from conftest import blobs, engine, fit, small_game
from sparring import losses
from sparring.config.errors import UserError
from sparring.data.modalities.points import Points
from sparring.games.generation import Generation
from sparring.games.turn import Turn
from sparring.networks import dcgan, mlp
from sparring.randomness import Draws
from sparring.regularizers.gradients import R1, GradientPenalty, input_gradient
from turns import float64 as float64

EXACT = torch.float64
pytestmark = pytest.mark.usefixtures("float64")


class Slope(nn.Module):
    """D(x) = w . x"""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=EXACT))

    def forward(self, images, labels=None):
        return images.flatten(1) @ self.weights


class Same(nn.Module):
    """Points that are the latents."""

    def forward(self, latents, labels=None):
        return latents


def turn_of(game, player="discriminator", count=4):
    batch = {"images": torch.arange(2.0 * count, dtype=EXACT).view(count, 2) / 4}
    return Turn(game, player, batch, Draws((0,), count, slice(0, count)))


def game_of(*discriminators, **options):
    first, *others = discriminators
    game = Generation(Same(), first, options.pop("loss", losses.Wasserstein()), others=others, latent_dim=2, **options)
    game.modality = Points()
    return game


def test_a_pack_is_judged_as_one():
    game = game_of(Slope([1.0, 2.0, 10.0, 20.0]), packing=2)
    turn = turn_of(game)
    a, b, c, d = turn.reals  # stacked in order: (a, b), (c, d)
    slope = torch.tensor([1.0, 2.0])
    expected = torch.stack([slope @ a + 10 * slope @ b, slope @ c + 10 * slope @ d])
    torch.testing.assert_close(turn.real_logits, expected)
    assert game.terms("discriminator", turn)["adversarial"].ndim == 0


def test_images_are_packed_by_channel():
    game = small_game(family=dcgan, size=8)
    game.discriminator = dcgan.Discriminator(8, 3, width=8, norm="none")
    game.packing = 3
    images = torch.rand(6, 1, 8, 8)
    expected = game.discriminator(torch.stack([images[:3, 0], images[3:, 0]]))
    torch.testing.assert_close(game.discriminate(images), expected)


def test_a_penalty_takes_the_gradient_by_the_whole_pack():
    game = game_of(Slope([1.0, 2.0, 10.0, 20.0]), packing=2)
    gradient = input_gradient(turn_of(game), turn_of(game).reals, "real")
    torch.testing.assert_close(gradient, torch.tensor([[1.0, 2.0, 10.0, 20.0]]).repeat(2, 1))
    assert R1()(turn_of(game)).tolist() == [505 / 2] * 2


def test_a_batch_that_packs_do_not_divide_is_refused():
    with pytest.raises(UserError, match=r"model.packing=3 does not divide data.batch_size=4"):
        turn_of(game_of(Slope([1.0] * 6), packing=3)).real_logits  # noqa: B018
    with pytest.raises(ValueError, match="packing=2.*conditional=false"):
        game_of(Slope([1.0]), packing=2, conditional=True)


@pytest.mark.parametrize(
    ("mix", "expected"),
    [("mean", lambda loss: sum(loss) / 2), ("max", max), ("softmax", None)],
)
def test_a_generator_faces_the_mix_of_its_discriminators_losses(mix, expected):
    game = game_of(Slope([1.0, 0.0]), Slope([0.0, 3.0]), mix=mix)
    turn = turn_of(game, "generator")
    alone = [-(turn.fakes @ w).mean().item() for w in torch.tensor([[1.0, 0.0], [0.0, 3.0]])]
    if expected is None:
        weights = torch.tensor(alone).softmax(0)
        value = (weights * torch.tensor(alone)).sum().item()
    else:
        value = expected(alone)
    assert game.terms("generator", turn)["adversarial"].item() == pytest.approx(value)


def test_each_discriminator_learns_by_its_own_loss_and_penalty():
    def gradients(*weights):
        game = game_of(*map(Slope, weights), regularizers={"gp": GradientPenalty()})
        sum(game.terms("discriminator", turn_of(game)).values()).backward()
        return [p.grad for p in game.discriminator.parameters()]

    (one,), (other,) = gradients([1.0, 0.5]), gradients([-0.3, 2.0])
    both = gradients([1.0, 0.5], [-0.3, 2.0])
    torch.testing.assert_close(both, [one / 2, other / 2])  # the mean over discriminators, as over examples


def test_spectral_norm_holds_every_singular_value_of_the_discriminator_below_one():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    game = small_game(family=dcgan, size=8, spectral_norm=True)
    for _ in range(30):
        game.discriminate(torch.rand(2, 1, 8, 8))
    matrices = [m.weight.flatten(1) for m in game.discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(matrices) == 2
    for matrix in matrices:
        assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=0.02)
    assert not any("parametrizations" in name for name, _ in game.generator.named_parameters())


@pytest.mark.parametrize("family", [mlp, dcgan])
def test_they_all_train_together_and_the_noise_of_a_batch_is_seen(family):
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    options = {"dropout": 0.0} if family is mlp else {"norm": "none"}

    def judge():
        return family.Discriminator(8, 2, width=8, minibatch_stddev=4, **options)

    generator = family.Generator(8, 1, latent_dim=4, width=8)
    regularizers = {"r1": R1(0.1), "gp": GradientPenalty(1.0)}
    extras = {"packing": 2, "spectral_norm": True, "mix": "softmax", "others": [judge(), judge()]}
    game = Generation(generator, judge(), losses.Hinge(), regularizers, latent_dim=4, **extras)
    module = engine(game, blobs(64), batch_size=16)
    before = {name: value.clone() for name, value in game.named_parameters()}
    fit(module, 3)
    module.check_finite()
    assert all(not torch.equal(before[name], value) for name, value in game.named_parameters() if value.ndim > 1)
