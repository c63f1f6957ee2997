"""Every regularizer on discriminators whose gradient is known in closed form."""

import inspect

import pytest
import torch
from torch import nn

from sparring import regularizers
from sparring.games.generation import Generation
from sparring.losses import Wasserstein
from sparring.play import Play
from sparring.randomness import Draws
from sparring.regularizers import R1, GradientPenalty, Regularizer, WeightClipping

BATCH, SHAPE = 4, (2, 3, 3)
COVERED = {GradientPenalty, R1, WeightClipping}


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Linear(nn.Module):
    """D(x) = w.x, whose gradient is w everywhere."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 18))

    def forward(self, images, labels=None):
        return images.flatten(1) @ self.weight


class Quadratic(nn.Module):
    """D(x) = |x|^2 / 2, whose gradient is x; with labels, D(x, y) = y |x|^2 / 2."""

    def forward(self, images, labels=None):
        self.seen = images.detach()
        return images.square().flatten(1).sum(1) / 2 * (1 if labels is None else labels)


class Smooth(nn.Module):
    """A small network without kinks."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(18, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, images, labels=None):
        return self.layers(images).squeeze(1)


def a_play(discriminator, iteration=0, conditional=False, **kwargs) -> Play:
    """A discriminator's turn on four reals (all pixels positive) and four fakes (all negative)."""
    game = Generation(nn.Linear(3, 18), discriminator, Wasserstein(), conditional=conditional, **kwargs)
    draws = Draws((0, iteration, "discriminator", 0), BATCH, slice(0, BATCH))
    play = Play(game, "discriminator", {"labels": torch.arange(BATCH)}, draws, iteration)
    play.reals, play.fakes = example(1).abs() + 1, -example(2).abs()
    return play


def example(seed: int) -> torch.Tensor:
    return torch.randn(BATCH, *SHAPE, generator=torch.Generator().manual_seed(seed))


def squares(images: torch.Tensor) -> torch.Tensor:
    return images.square().flatten(1).sum(1)


def test_every_regularizer_is_covered_here():
    found = {r for _, r in inspect.getmembers(regularizers, inspect.isclass) if issubclass(r, Regularizer)}
    assert found - {Regularizer} == COVERED


def test_gradient_penalty_of_a_linear_discriminator_is_its_slope_less_one_squared():
    # w = (-17, -15, ..., 17) / 17, so |w|^2 = 2 (1^2 + 3^2 + ... + 17^2) / 289 = 1938 / 289
    penalty = GradientPenalty()(a_play(Linear()))
    torch.testing.assert_close(penalty, torch.full((BATCH,), (1938**0.5 / 17 - 1) ** 2), rtol=1e-12, atol=0)


def test_gradient_penalty_is_taken_at_one_mix_of_real_and_fake_an_example():
    discriminator = Quadratic()
    play = a_play(discriminator)
    penalty = GradientPenalty()(play)
    shares = ((discriminator.seen - play.fakes) / (play.reals - play.fakes)).flatten(1)
    torch.testing.assert_close(shares, shares[:, :1].expand_as(shares))  # one share for all pixels of an example
    assert shares.min() >= 0 and shares.max() <= 1
    assert shares[:, 0].unique().numel() == BATCH, "every example has a share of its own"
    torch.testing.assert_close(penalty, (squares(discriminator.seen).sqrt() - 1).square(), rtol=1e-12, atol=0)


def test_the_mixes_lie_evenly_between_real_and_fake():
    discriminator = Quadratic()
    play = a_play(discriminator)
    play.draws = Draws((0,), 2000, slice(0, 2000))
    play.reals, play.fakes = torch.ones(2000, 1, 1, 1), torch.zeros(2000, 1, 1, 1)
    GradientPenalty()(play)
    quartiles = discriminator.seen.flatten().quantile(torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quartiles, torch.tensor([0.25, 0.5, 0.75]), rtol=0, atol=0.04)


def test_the_mixes_are_a_function_of_the_draws():
    def mixes(iteration):
        discriminator = Quadratic()
        GradientPenalty()(a_play(discriminator, iteration))
        return discriminator.seen

    assert torch.equal(mixes(0), mixes(0)) and not torch.equal(mixes(0), mixes(1))


def test_r1_of_a_linear_discriminator_is_half_its_slope_squared():
    torch.testing.assert_close(R1()(a_play(Linear())), torch.full((BATCH,), 1938 / 289 / 2), rtol=1e-12, atol=0)


def test_r1_of_a_quadratic_discriminator_is_half_the_reals_squares():
    play = a_play(Quadratic())
    torch.testing.assert_close(R1()(play), squares(play.reals) / 2, rtol=1e-12, atol=0)


def test_penalties_of_a_conditional_discriminator_are_taken_at_each_examples_label():
    play = a_play(Quadratic(), conditional=True)  # the labels 0, 1, 2, 3 multiply the gradient
    torch.testing.assert_close(R1()(play), torch.arange(BATCH) ** 2 * squares(play.reals) / 2)
    assert GradientPenalty()(play)[0] == 1, "no slope at all: (0 - 1)^2"


@pytest.mark.parametrize("penalty", [GradientPenalty, R1])
def test_a_penaltys_gradient_reaches_every_weight_of_the_discriminator(penalty):
    torch.manual_seed(0)
    play = a_play(Smooth())
    weights = [play.game.discriminator.layers[1].weight, play.game.discriminator.layers[3].weight]
    gradients = torch.autograd.grad(penalty()(play).mean(), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        direction, moved = torch.randn_like(weight), []
        for step in (1e-5, -2e-5):  # above, then below
            weight.data += step * direction
            moved.append(penalty()(play).mean().item())
        weight.data += 1e-5 * direction
        assert (gradient * direction).sum().item() == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-6)
        assert gradient.abs().max() > 1e-3


def test_a_penalty_trains_the_discriminator_alone():
    play = a_play(Smooth())
    images = nn.Parameter(play.fakes)  # fakes with a graph, as where both turns share them
    play.fakes = images * 1
    (GradientPenalty()(play) + R1()(play)).mean().backward()
    assert images.grad is None and play.game.discriminator.layers[1].weight.grad.abs().sum() > 0
    assert not play.reals.requires_grad, "the reals are left as they were"


def test_the_gradient_penalty_of_a_flat_discriminator_has_no_nan():
    play = a_play(Smooth())
    nn.init.zeros_(play.game.discriminator.layers[3].weight)
    penalty = GradientPenalty()(play)
    penalty.mean().backward()
    assert torch.equal(penalty, torch.ones(BATCH))
    assert all(p.grad is None or p.grad.isfinite().all() for p in play.game.discriminator.parameters())


@pytest.mark.parametrize(("penalty", "value"), [(GradientPenalty, (1938**0.5 / 17 - 1) ** 2), (R1, 1938 / 289 / 2)])
def test_penalties_are_computed_in_float32_under_mixed_precision(penalty, value):
    torch.set_default_dtype(torch.float32)
    play = a_play(Linear())
    play.fakes = play.fakes.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert play.game.discriminate(play.reals).dtype == torch.bfloat16, "mixed precision is on"
        mixed = penalty()(play)
    torch.testing.assert_close(mixed, torch.full((BATCH,), value), rtol=1e-6, atol=0)  # bfloat16 keeps 3 digits


@pytest.mark.parametrize("every", [1, 4])
def test_a_lazy_regularizer_is_used_every_so_many_iterations_times_as_many(every):
    regularizer = R1(weight=3.0, every=every)
    for iteration in range(9):
        play = a_play(Linear(), iteration, regularizers={"r1": regularizer})
        terms = play.game.regularization("discriminator", play)
        assert list(terms) == (["r1"] if iteration % every == 0 else [])
        if terms:
            assert terms["r1"].item() == pytest.approx(3.0 * every * 1938 / 289 / 2)
        assert play.game.regularization("generator", play) == {}


def test_a_regularizers_term_is_added_to_the_loss_of_its_players_turn():
    play = a_play(Linear(), regularizers={"gp": GradientPenalty(weight=7.0), "clip": WeightClipping()})
    terms = play.game.terms("discriminator", play)
    assert list(terms) == ["adversarial", "gp"], "clipping adds no term"
    assert terms["gp"].item() == pytest.approx(7 * (1938**0.5 / 17 - 1) ** 2)
    assert list(play.game.terms("generator", play)) == ["adversarial"]


def test_weight_clipping_clamps_all_weights_of_the_discriminator_and_no_others():
    play = a_play(nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)), regularizers={"clip": WeightClipping(0.05)})
    generator = {name: value.clone() for name, value in play.game.generator.state_dict().items()}
    before = {name: value.clone() for name, value in play.game.discriminator.named_parameters()}
    with torch.no_grad():
        play.game.after("generator", play)
        assert all(torch.equal(value, before[name]) for name, value in play.game.discriminator.named_parameters())
        play.game.after("discriminator", play)
    assert set(before) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    for name, value in play.game.discriminator.named_parameters():
        assert torch.equal(value, before[name].clamp(-0.05, 0.05)), name
    assert before["0.weight"].abs().max() > 0.05 and before["0.weight"].abs().min() < 0.05
    for name, value in play.game.generator.state_dict().items():
        assert torch.equal(value, generator[name])


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="every=0"):
        R1(every=0)
    with pytest.raises(ValueError, match=r"limit=-0\.01"):
        WeightClipping(limit=-0.01)
