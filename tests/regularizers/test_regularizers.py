"""Every regularizer on discriminators whose gradient is known in closed form."""

from typing import get_type_hints

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from sparring.augment.ada import ADA
from sparring.augment.diffaugment import DiffAugment
from sparring.randomness import Draws
from sparring.regularizers.base import Regularizer
from sparring.regularizers.generator import PathLength, TopK
from sparring.regularizers.gradients import R1, R2, Dragan, GradientPenalty, ZeroCentered
from sparring.regularizers.lecam import LeCam
from sparring.regularizers.weights import Orthogonal, WeightClipping
from sparring.training.schedules import Linear as LinearSchedule
from turns import BATCH, Linear, Quadratic, Smooth, a_turn, check_gradients, squares, two
from turns import float64 as float64

PENALTIES = [GradientPenalty, ZeroCentered, Dragan, R1, R2]
SLOPE = 1938 / 289  # the linear discriminator's, squared
OF_A_LINEAR_ONE = {
    GradientPenalty: (SLOPE**0.5 - 1) ** 2,
    ZeroCentered: SLOPE,
    Dragan: (SLOPE**0.5 - 1) ** 2,
    R1: SLOPE / 2,
    R2: SLOPE / 2,
}

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize(("penalty", "value"), OF_A_LINEAR_ONE.items())
def test_penalties_of_a_linear_discriminator_are_known_from_its_slope(penalty, value):
    torch.testing.assert_close(penalty()(a_turn(Linear())), torch.full((BATCH,), value), rtol=1e-12, atol=0)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_several_discriminators_are_penalised_each(penalty):
    turn = a_turn(Linear())
    turn.game.discriminator = two(Linear)
    with torch.no_grad():
        turn.game.discriminator.each[1].weight *= 2
    once, twice = OF_A_LINEAR_ONE[penalty], {1: ((4 * SLOPE) ** 0.5 - 1) ** 2, 2: 4 * SLOPE, 3: 2 * SLOPE}
    second = twice[1 if penalty in (GradientPenalty, Dragan) else 2 if penalty is ZeroCentered else 3]
    torch.testing.assert_close(penalty()(turn).mean(), torch.tensor((once + second) / 2), rtol=1e-12, atol=0)


def test_gradient_penalty_is_taken_at_one_mix_of_real_and_fake_an_example():
    discriminator = Quadratic()
    turn = a_turn(discriminator)
    penalty = GradientPenalty()(turn)
    shares = ((discriminator.seen - turn.fakes) / (turn.reals - turn.fakes)).flatten(1)
    torch.testing.assert_close(shares, shares[:, :1].expand_as(shares))  # one share for all pixels of an example
    assert shares.min() >= 0 and shares.max() <= 1
    assert shares[:, 0].unique().numel() == BATCH, "every example has a share of its own"
    torch.testing.assert_close(penalty, (squares(discriminator.seen).sqrt() - 1).square(), rtol=1e-12, atol=0)


def test_the_mixes_lie_evenly_between_real_and_fake():
    discriminator = Quadratic()
    turn = a_turn(discriminator)
    turn.draws = Draws((0,), 2000, slice(0, 2000))
    turn.reals, turn.fakes = torch.ones(2000, 1, 1, 1), torch.zeros(2000, 1, 1, 1)
    GradientPenalty()(turn)
    quartiles = discriminator.seen.flatten().quantile(torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quartiles, torch.tensor([0.25, 0.5, 0.75]), rtol=0, atol=0.04)


def test_the_mixes_are_a_function_of_the_draws():
    def mixes(iteration):
        discriminator = Quadratic()
        GradientPenalty()(a_turn(discriminator, iteration))
        return discriminator.seen

    assert torch.equal(mixes(0), mixes(0)) and not torch.equal(mixes(0), mixes(1))


def test_r1_and_r2_of_a_quadratic_discriminator_are_half_the_squares_of_reals_and_fakes():
    turn = a_turn(Quadratic())
    torch.testing.assert_close(R1()(turn), squares(turn.reals) / 2, rtol=1e-12, atol=0)
    torch.testing.assert_close(R2()(turn), squares(turn.fakes) / 2, rtol=1e-12, atol=0)


def test_the_zero_centred_penalty_of_a_quadratic_discriminator_is_the_mixes_squares():
    discriminator = Quadratic()
    penalty = ZeroCentered()(a_turn(discriminator))
    torch.testing.assert_close(penalty, squares(discriminator.seen), rtol=1e-12, atol=0)


def test_dragan_looks_around_the_reals_within_half_their_standard_deviation():
    discriminator = Quadratic()
    turn = a_turn(discriminator, batch=500)
    penalty = Dragan()(turn)
    moved = ((discriminator.seen - turn.reals) / turn.reals.std()).flatten(1)
    assert moved.min() >= 0 and 0.4 < moved.max() <= 0.5
    # a U(0, 1) an example times 1/2 U(0, 1) a number: of mean 1/8, and of an example's largest the mean is a/2 * 18/19
    torch.testing.assert_close(moved.mean(), torch.tensor(1 / 8), rtol=0.05, atol=0)
    torch.testing.assert_close(moved.amax(1).mean(), torch.tensor(18 / 19 / 4), rtol=0.05, atol=0)
    torch.testing.assert_close(penalty, (squares(discriminator.seen).sqrt() - 1).square(), rtol=1e-12, atol=0)


def test_automatic_gamma_follows_the_size_of_image_and_global_batch():
    for penalty in (R1, R2):
        terms = []
        for options in ({}, {"weight": "auto"}, {"weight": "auto", "schedule": LinearSchedule(end_kimg=1.0)}):
            turn = a_turn(Linear(), kimg=0.5, regularizers={"it": penalty(**({"weight": 1.0} | options))})
            turn.draws = Draws((0,), 32, slice(0, BATCH))  # one of eight ranks
            terms.append(turn.regularization()["it"].item())
        gamma = 0.0002 * 3 * 2 / 32
        assert terms == pytest.approx([terms[0], gamma * terms[0], gamma / 2 * terms[0]])
    with pytest.raises(ValueError, match="weight=auto"):
        R1("auto").check_fits(turn.game, torch.zeros(BATCH, 2))
    R1("auto").check_fits(turn.game, turn.reals)


def test_penalties_of_a_conditional_discriminator_are_taken_at_each_examples_label():
    turn = a_turn(Quadratic(), conditional=True)  # the labels 0, 1, 2, 3 multiply the gradient
    torch.testing.assert_close(R1()(turn), torch.arange(BATCH) ** 2 * squares(turn.reals) / 2)
    assert GradientPenalty()(turn)[0] == 1, "no slope at all: (0 - 1)^2"


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_penaltys_gradient_reaches_every_weight_of_the_discriminator(penalty, several):
    torch.manual_seed(0)
    turn = a_turn(two(Smooth) if several else Smooth())
    weights = [weight for weight in turn.game.discriminator.parameters() if weight.ndim > 1]
    check_gradients(lambda: penalty()(turn).mean(), weights)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_penalties_go_through_the_augmentation(penalty):
    torch.manual_seed(0)
    discriminator = Smooth()
    augmented, plain = (a_turn(discriminator, augment=augment) for augment in (DiffAugment(["color"]), None))
    assert (penalty()(augmented) - penalty()(plain)).abs().min() > 1e-6
    check_gradients(lambda: penalty()(augmented).mean(), [discriminator.layers[1].weight])


def test_a_penalty_trains_the_discriminator_alone():
    turn = a_turn(Smooth())
    images = nn.Parameter(turn.fakes)  # fakes with a graph, as where both turns share them
    turn.fakes = images * 1
    sum(penalty()(turn).mean() for penalty in PENALTIES).backward()
    assert images.grad is None and turn.game.discriminator.layers[1].weight.grad.abs().sum() > 0
    assert not turn.reals.requires_grad, "the reals are left as they were"


def test_the_gradient_penalty_of_a_flat_discriminator_has_no_nan():
    turn = a_turn(Smooth())
    nn.init.zeros_(turn.game.discriminator.head.linear.weight)
    penalty = GradientPenalty()(turn)
    penalty.mean().backward()
    assert torch.equal(penalty, torch.ones(BATCH))
    assert all(p.grad is None or p.grad.isfinite().all() for p in turn.game.discriminator.parameters())


@pytest.mark.parametrize(("penalty", "value"), OF_A_LINEAR_ONE.items())
def test_penalties_are_computed_in_float32_under_mixed_precision(penalty, value):
    torch.set_default_dtype(torch.float32)
    turn = a_turn(Linear())
    turn.fakes = turn.fakes.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert turn.game.discriminate(turn.reals).dtype == torch.bfloat16, "mixed precision is on"
        mixed = penalty()(turn)
    torch.testing.assert_close(mixed, torch.full((BATCH,), value), rtol=1e-6, atol=0)  # bfloat16 keeps 3 digits


@pytest.mark.parametrize("every", [1, 4])
def test_a_lazy_regularizer_is_used_every_so_many_iterations_times_as_many(every):
    regularizer = R1(weight=3.0, every=every)
    for iteration in range(9):
        turn = a_turn(Linear(), iteration, regularizers={"r1": regularizer})
        terms = turn.regularization()
        assert list(terms) == (["r1"] if iteration % every == 0 else [])
        if terms:
            assert terms["r1"].item() == pytest.approx(3.0 * every * 1938 / 289 / 2)
        assert a_turn(Linear(), iteration, "generator", regularizers={"r1": regularizer}).regularization() == {}


def test_a_regularizers_term_is_added_to_the_loss_of_its_players_turn():
    regularizers = {"gp": GradientPenalty(weight=7.0), "clip": WeightClipping()}
    turn = a_turn(Linear(), regularizers=regularizers)
    terms = turn.game.terms("discriminator", turn)
    assert list(terms) == ["adversarial", "gp"], "clipping adds no term"
    assert terms["gp"].item() == pytest.approx(7 * (1938**0.5 / 17 - 1) ** 2)
    turn = a_turn(Linear(), player="generator", regularizers=regularizers)
    assert list(turn.game.terms("generator", turn)) == ["adversarial"]


def test_weight_clipping_clamps_all_weights_of_the_discriminator_and_no_others():
    turn = a_turn(nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)), regularizers={"clip": WeightClipping(0.05)})
    generator = {name: value.clone() for name, value in turn.game.generator.state_dict().items()}
    before = {name: value.clone() for name, value in turn.game.discriminator.named_parameters()}
    with torch.no_grad():
        turn.game.after("generator", turn)
        assert all(torch.equal(value, before[name]) for name, value in turn.game.discriminator.named_parameters())
        turn.game.after("discriminator", turn)
    assert set(before) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    for name, value in turn.game.discriminator.named_parameters():
        assert torch.equal(value, before[name].clamp(-0.05, 0.05)), name
    assert before["0.weight"].abs().max() > 0.05 and before["0.weight"].abs().min() < 0.05
    for name, value in turn.game.generator.state_dict().items():
        assert torch.equal(value, generator[name])


def test_orthogonality_is_the_overlap_of_output_channels():
    layers = {
        "linear": nn.Linear(2, 3),
        "convolution": nn.Conv2d(1, 2, (1, 2)),
        "transposed": nn.ConvTranspose2d(2, 2, 1),
        "embedding": nn.utils.parametrizations.spectral_norm(nn.Embedding(2, 2)),
        "norm": nn.BatchNorm2d(3),
    }
    turn = a_turn(Linear(), player="generator", generator=nn.ModuleDict(layers))
    with torch.no_grad():
        layers["linear"].weight.copy_(torch.tensor([[1.0, 2], [3, 4], [0, -1]]))  # overlaps 11, -2, -4
        layers["convolution"].weight.copy_(torch.tensor([1.0, 2, 2, -1]).view(2, 1, 1, 2))  # none
        layers["transposed"].weight.copy_(torch.tensor([1.0, 5, 2, 0]).view(2, 2, 1, 1))  # of (1, 2) and (5, 0): 5
    # each overlap counts twice, and half of that is taken
    assert Orthogonal()(turn).item() == pytest.approx(11**2 + 2**2 + 4**2 + 5**2)
    check_gradients(lambda: Orthogonal()(turn), [layers["linear"].weight, layers["transposed"].weight])


def test_orthogonality_is_of_the_named_player_and_of_raw_weights():
    turn = a_turn(Smooth(), spectral_norm=True)
    raw = turn.game.discriminator.layers[1].parametrizations.weight.original
    overlaps = raw @ raw.T
    found = Orthogonal(player="discriminator")
    assert found.player == "discriminator" and Orthogonal().player == "generator"
    torch.testing.assert_close(found(turn), (overlaps.square().sum() - overlaps.diag().square().sum()) / 2)
    check_gradients(lambda: found(turn), [raw])


def test_orthogonality_is_computed_in_float32_under_mixed_precision():
    torch.set_default_dtype(torch.float32)
    turn = a_turn(Smooth())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = Orthogonal()(turn)
    torch.testing.assert_close(mixed, Orthogonal()(turn), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        *(
            (Regularizer, "every", 0),
            (R1, "weight", "automatic"),
            (R2, "weight", -1.0),
            (WeightClipping, "limit", -0.01),
        ),
        *((LeCam, "decay", 1.0), (PathLength, "batch_shrink", 0)),
        *((TopK, "gamma", 0.0), (TopK, "nu", 1.5), (TopK, "epoch_kimg", 0.0)),
        *((ADA, "p", 1.5), (ADA, "blit", -0.1), (ADA, "adjust_every", 0), (ADA, "adjust_kimg", 0.0)),
    ],
)
def test_settings_without_meaning_are_not_of_the_constructors_types(kind, key, value):
    with pytest.raises(ValidationError):
        TypeAdapter(get_type_hints(kind.__init__, include_extras=True)[key]).validate_python(value)
