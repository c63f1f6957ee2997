"""Regularizers of the generator: matched features, sought modes, chosen fakes, even path lengths."""

import pytest
import torch
from torch import nn

from sparring.augment.diffaugment import DiffAugment
from sparring.games.clock import Clock
from sparring.games.generation import Generation
from sparring.games.turn import Turn
from sparring.losses import NonSaturating
from sparring.randomness import Draws
from sparring.regularizers.generator import FeatureMatching, ModeSeeking, PathLength, TopK
from turns import BATCH, SHAPE, Linear, Maker, Smooth, a_turn, check_gradients, two
from turns import float64 as float64

pytestmark = pytest.mark.usefixtures("float64")


class Style(nn.Module):
    """StyleGAN2's parts: w = A z for each of ``layers``, and an image B (the sum of the layers' w)."""

    def __init__(self, layers: int = 1):
        super().__init__()
        self.first, self.second, self.layers = nn.Linear(3, 2, bias=False), nn.Linear(2, 18, bias=False), layers

    def mapping(self, latents, labels=None):
        return self.first(latents)[:, None].expand(-1, self.layers, -1)

    def synthesis(self, w):
        return self.second(w.sum(1)).tanh().view(-1, *SHAPE)

    def forward(self, latents, labels=None):
        return self.synthesis(self.mapping(latents, labels))


class StraightStyle(Style):
    """Whose lengths are known: without the tanh."""

    def synthesis(self, w):
        return self.second(w.sum(1)).view(-1, *SHAPE)


def g_turn(discriminator=None, **options) -> Turn:
    return a_turn(discriminator or Smooth(), player="generator", **options)


def test_feature_matching_is_the_squared_distance_of_mean_features():
    turn = g_turn(Linear())
    expected = (turn.reals.mean(0) - turn.fakes.mean(0)).square().sum()
    assert FeatureMatching()(turn).item() == pytest.approx(expected.item(), rel=1e-12)
    assert FeatureMatching.needs_reals and FeatureMatching.couples_batch and FeatureMatching.player == "generator"


def test_feature_matching_of_several_discriminators_matches_all_their_features():
    turn = g_turn(two(Linear))
    torch.testing.assert_close(
        FeatureMatching()(turn), 2 * FeatureMatching()(g_turn(Linear(), generator=turn.game.generator))
    )


def test_feature_matching_sees_what_the_discriminator_sees():
    generator = Maker()
    augmented, plain = (
        g_turn(Linear(), generator=generator, augment=augment) for augment in (DiffAugment(["color"]), None)
    )
    assert abs(FeatureMatching()(augmented) - FeatureMatching()(plain)) > 1e-6


def test_mode_seeking_of_a_linear_generator_is_the_ratio_inverted():
    generator = Maker(tanh=False)
    with torch.no_grad():  # each latent is shown by six pixels, at twice its value
        generator.linear.weight.copy_(2 * torch.eye(3).repeat(6, 1))
    value = ModeSeeking()(g_turn(generator=generator))
    assert value.item() == pytest.approx(1 / (2 + 1e-5), rel=1e-12)


def test_mode_seeking_is_against_a_generator_that_ignores_its_latents():
    generator = Maker()
    nn.init.zeros_(generator.linear.weight)
    assert ModeSeeking()(g_turn(generator=generator)).item() == pytest.approx(1e5)


def test_mode_seeking_draws_other_latents_in_every_iteration():
    generator, values = Maker(), set()
    for iteration in (0, 0, 1):
        turn = g_turn(generator=generator, iteration=iteration)
        turn.latents, turn.fakes = torch.zeros(BATCH, 3), torch.ones(BATCH, *SHAPE)  # what is left are the others
        values.add(ModeSeeking()(turn).item())
    assert len(values) == 2


@pytest.mark.parametrize("kind", [FeatureMatching, ModeSeeking])
@pytest.mark.parametrize("several", [False, True])
def test_the_gradient_reaches_the_generator(kind, several):
    torch.manual_seed(0)
    turn = g_turn(two(Smooth) if several else Smooth(), augment=DiffAugment(["color"]))

    def value():
        for made in ("fakes", "fake_features"):
            turn.__dict__.pop(made, None)  # the weights were moved
        return kind()(turn)

    check_gradients(value, [turn.game.generator.linear.weight])


@pytest.mark.parametrize("kind", [FeatureMatching, ModeSeeking])
def test_differences_are_taken_in_float32_under_mixed_precision(kind):
    torch.set_default_dtype(torch.float32)
    turn = g_turn()
    with torch.autocast("cpu", torch.bfloat16):
        assert turn.fakes.dtype == torch.bfloat16
        assert kind()(turn).dtype == torch.float32


# ---- top k ------------------------------------------------------------------------------------------------------


def chosen(logits: torch.Tensor, kimg: float = 0.0, **settings) -> torch.Tensor:
    turn = g_turn(kimg=kimg)
    turn.fake_logits = logits
    return TopK(**settings).choose(10 * logits, turn)


def test_the_generator_learns_from_the_fakes_of_the_highest_logits():
    logits = torch.tensor([3.0, -1, 5, 0, 2, 1, 4, -2])
    assert chosen(logits).numel() == 8
    found = chosen(logits, kimg=1e6)  # long enough for half of them
    assert sorted(found.tolist()) == [20.0, 30, 40, 50]


def test_each_discriminator_chooses_its_own():
    logits = torch.tensor([[1.0, 0], [0, 1], [2, -1], [-1, 2]])
    found = chosen(logits, kimg=1e6)
    assert sorted(found[:, 0].tolist()) == sorted(found[:, 1].tolist()) == [10.0, 20.0]


@pytest.mark.parametrize(("kimg", "k"), [(0, 100), (49.9, 100), (50, 99), (100, 98), (500, 90), (3450, 50), (9999, 50)])
def test_how_many_are_chosen_falls_by_the_epoch(kimg, k):
    assert len(chosen(torch.arange(100.0), kimg)) == k  # .99^2 = .9801, .99^10 = .904, .99^69 = .4998


def test_the_generators_loss_is_of_the_chosen_alone():
    game = Generation(Maker(), Linear(), NonSaturating(), {"top_k": TopK(gamma=0.5, epoch_kimg=1.0)}, latent_dim=3)
    turn = Turn(game, "generator", {}, Draws((0,), 8, slice(0, 8)), Clock(1000, iteration=1))
    best = turn.fake_logits.sort(descending=True).values[:4]
    terms = game.terms("generator", turn)
    assert list(terms) == ["adversarial"]
    torch.testing.assert_close(terms["adversarial"], torch.nn.functional.softplus(-best).mean())


# ---- path length ------------------------------------------------------------------------------------------------


def test_the_length_of_a_linear_synthesis_is_that_of_its_transposed_noise():
    generator = StraightStyle()
    turn = g_turn(generator=generator, batch=4000)
    with torch.no_grad():  # B has one column of length 3 and one of length 4, at right angles
        generator.second.weight.zero_()
        generator.second.weight[:9, 0] = 1
        generator.second.weight[9:, 1] = 4 / 3
    penalty = PathLength()
    value = penalty(turn)
    assert value.shape == (2000,), "half of the batch"
    # a starts at 0: E |B^T y|^2 with y ~ N(0, 1/6) a number is (3^2 + 4^2) / 6
    torch.testing.assert_close(value.mean(), torch.tensor(25 / 6), rtol=0.05, atol=0)
    with torch.no_grad():
        penalty.after(turn)
    torch.testing.assert_close(penalty.mean, 0.01 * value.sqrt().mean())
    torch.testing.assert_close(penalty(turn), (value.sqrt() - penalty.mean).square())


def test_the_squared_length_is_averaged_over_the_layers():
    torch.manual_seed(0)
    one, three = StraightStyle(1), StraightStyle(3)
    three.load_state_dict(one.state_dict())
    torch.testing.assert_close(PathLength()(g_turn(generator=three)), PathLength()(g_turn(generator=one)))


def test_the_path_lengths_gradient_reaches_synthesis_and_mapping():
    torch.manual_seed(0)
    turn = g_turn(generator=Style(2))
    penalty = PathLength()
    penalty.mean.fill_(0.3)
    check_gradients(lambda: penalty(turn).mean(), [turn.game.generator.first.weight, turn.game.generator.second.weight])


def test_path_lengths_are_computed_in_float32_under_mixed_precision():
    torch.set_default_dtype(torch.float32)
    turn = g_turn(generator=Style())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = PathLength()(turn)
    torch.testing.assert_close(mixed, PathLength()(turn), rtol=1e-6, atol=0)


def test_the_path_length_needs_a_generator_with_styles():
    with pytest.raises(ValueError, match="mapping and synthesis.*stylegan2"):
        PathLength().check_fits(g_turn().game, torch.zeros(4, 3, 8, 8))
