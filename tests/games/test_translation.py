"""An image made of an image: what each player minimises, what it is given, and what stands beside its answers."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conftest import engine, fit
from sparring.augment.diffaugment import DiffAugment
from sparring.config.errors import UserError
from sparring.data.degradations.jpeg import JPEG
from sparring.data.degradations.masks import Mask
from sparring.data.degradations.mixed import Mixed
from sparring.data.degradations.quality import Blur, Downscale, Noise
from sparring.games.clock import Clock
from sparring.games.translation import Translation
from sparring.games.turn import Turn
from sparring.losses import LeastSquares, Wasserstein
from sparring.networks import patch
from sparring.networks.base_discriminator import Several
from sparring.randomness import Draws
from sparring.regularizers.consistency import LatentConsistency
from sparring.regularizers.gradients import R1, GradientPenalty
from turns import float64 as float64

pytestmark = pytest.mark.usefixtures("float64")


class Factor(nn.Module):
    """G(x) = a x, of the first ``channels`` of the condition."""

    def __init__(self, a: float = 0.5, channels: int = 1):
        super().__init__()
        self.a, self.channels = nn.Parameter(torch.tensor(a)), channels

    def forward(self, condition):
        return self.a * condition[:, : self.channels]


class Twice(Factor):
    """Answers twice as high and wide."""

    def forward(self, condition):
        return super().forward(condition).repeat_interleave(2, 2).repeat_interleave(2, 3)


class Weighted(nn.Module):
    """D(x) = the sum of w times the mean, over the channels."""

    def __init__(self, *weights: float):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, images, labels=None):
        self.seen = images
        return images.mean((2, 3)) @ self.weights


class Squares:
    """A distance like the perceptual one."""

    weight = 0.25

    def __call__(self, images, targets):
        return (images - targets).square().flatten(1).mean(1)

    def prepare(self, shape):
        self.prepared = tuple(shape)


def flat(*levels: int, size: int = 2, channels: int = 1) -> torch.Tensor:
    """Images of one level each, uint8."""
    return torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, channels, size, size).clone()


def noisy(count: int, size: int = 8, channels: int = 1, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, size, size), generator=draw, dtype=torch.uint8)


def a_game(generator=None, discriminator=None, loss=None, **options) -> Translation:
    parts = {"generator": generator or Factor(), "discriminator": discriminator or Weighted(2.0, -1.0)}
    return Translation(**parts, loss=loss or LeastSquares(), **options)


def a_turn(game, player, iteration=0, **columns) -> Turn:
    count = len(columns["images"])
    return Turn(
        game, player, columns, Draws((0, iteration, player, 0), count, slice(0, count)), Clock(iteration=iteration)
    )


PAIRS = {"images": flat(255, 0), "inputs": flat(255, 255)}  # of 1 a 1 and a -1 are to be made; G answers 0.5


def test_both_players_terms_are_those_worked_out_by_hand():
    weights = {"adversarial_weight": 3.0, "discriminator_weight": 0.5, "l1_weight": 10.0, "l2_weight": 8.0}
    game = a_game(**weights, psnr_weight=2.0, perceptual=Squares())
    # D weighs the image 2 and the input -1: it says 1 and -3 of the reals, 0 of the fakes
    (term,) = game.terms("discriminator", a_turn(game, "discriminator", **PAIRS)).items()
    assert term[0] == "adversarial" and term[1].item() == pytest.approx(0.5 * ((0 + 0) / 2 + (16 + 0) / 2) / 2)
    terms = game.terms("generator", a_turn(game, "generator", **PAIRS))
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        {
            "adversarial": 3 * 0.5,
            "l1": 10 * (0.5 + 1.5) / 2,
            "l2": 8 * 1.25,
            "psnr": -2 * (10 * math.log10(4 / 0.5**2) + 10 * math.log10(4 / 1.5**2)) / 2,
            "perceptual": 0.25 * 1.25,
        }
    )


def test_an_image_that_is_right_pulls_at_nothing():
    game = a_game(generator=Factor(), l1_weight=0.0, psnr_weight=1.0)
    turn = a_turn(game, "generator", images=flat(255, 0), inputs=flat(255, 0))
    turn.fakes = (turn.reals + 0 * turn.fakes).requires_grad_()
    (gradient,) = torch.autograd.grad(game.terms("generator", turn)["psnr"], turn.fakes)
    assert not gradient.any()


def test_what_weighs_nothing_is_no_term():
    game = a_game(l1_weight=0.0)
    assert set(game.terms("generator", a_turn(game, "generator", **PAIRS))) == {"adversarial"}


def test_pairs_are_judged_as_the_image_then_what_it_was_made_of():
    game, images, inputs = a_game(), noisy(2), noisy(2, channels=3, seed=1)
    turn = a_turn(game, "discriminator", images=images, inputs=inputs)
    shown = game.shown(turn.reals, turn.condition)
    torch.testing.assert_close(shown, torch.cat([images, inputs], 1) / 127.5 - 1)
    shown = game.shown(turn.fakes, turn.condition)
    torch.testing.assert_close(shown, torch.cat([inputs[:, :1] / 255 - 0.5, inputs / 127.5 - 1], 1))


def test_else_the_image_alone():
    game = a_game(discriminator=Weighted(2.0), judge_pairs=False)
    turn = a_turn(game, "discriminator", **PAIRS)
    assert turn.real_logits.tolist() == [2.0, -2.0] and turn.fake_logits.tolist() == [1.0, 1.0]
    assert game.discriminator.seen.shape == (2, 1, 2, 2)


@pytest.mark.parametrize("mixed", [False, True])
def test_of_a_mask_the_generator_is_given_what_is_left_and_where_the_rest_was(mixed):
    mask = Mask("strokes", area=0.3, fill=-0.5)
    game = a_game(degradation=Mixed({"mask": mask}) if mixed else mask)
    turn = a_turn(game, "generator", images=noisy(5))
    given, lost = turn.condition.split(1, dim=1)
    assert lost.unique().tolist() == [0, 1] and (lost == 1).sum((1, 2, 3)).tolist() == [round(0.3 * 64)] * 5
    assert (given[lost == 1] == -0.5).all()
    assert torch.equal(given[lost == 0], turn.reals[lost == 0])


def test_known_pixels_stay_as_they_are_where_some_were_lost():
    mask = Mask("half", fill=0.5)
    game = a_game(Factor(-1.0), degradation=Mixed({"mask": mask, "noise": Noise()}))
    turn = a_turn(game, "generator", images=noisy(16))
    masked = (turn.condition[:, 1:] > 0).any(1).flatten(1).any(1)
    assert 0 < masked.sum() < 16
    for fake, given, lost, whole in zip(turn.fakes, *turn.condition.split(1, dim=1), ~masked, strict=True):
        assert torch.equal(fake, -given if whole else torch.where(lost > 0, -0.5, given))


@pytest.mark.parametrize("kind", [Noise, JPEG, Blur])
def test_of_what_loses_no_pixel_the_marks_are_zero(kind):
    turn = a_turn(a_game(degradation=kind()), "generator", images=noisy(3, channels=3))
    assert turn.condition.shape == (3, 4, 8, 8) and not turn.condition[:, 3:].any()
    assert not torch.equal(turn.condition[:, :3], turn.reals) and turn.condition.abs().max() <= 1


def test_of_fewer_pixels_it_is_given_them_and_nothing_else():
    turn = a_turn(a_game(degradation=Downscale(2)), "generator", images=flat(255, 0, size=8, channels=3))
    torch.testing.assert_close(turn.condition, torch.tensor([1.0, -1]).view(2, 1, 1, 1).expand(2, 3, 4, 4))


def test_each_turn_damages_in_its_own_way_and_always_in_the_same():
    game = a_game(degradation=Mask("strokes"))

    def damage(player, iteration):
        return a_turn(game, player, iteration, images=noisy(4)).condition

    assert torch.equal(damage("generator", 0), damage("generator", 0))
    assert not torch.equal(damage("generator", 0), damage("discriminator", 0))
    assert not torch.equal(damage("generator", 0), damage("generator", 1))


def test_reused_fakes_are_judged_beside_what_they_were_made_of():
    game = a_game(degradation=Mask("strokes"))
    made = a_turn(game, "generator", images=noisy(4))
    turn = a_turn(game, "discriminator", images=noisy(4))
    turn.reuse_fakes(made)
    assert torch.equal(turn.condition, made.condition) and torch.equal(turn.fakes, made.fakes)
    assert made.fakes.requires_grad and not turn.fakes.requires_grad


def test_beside_answers_stand_the_input_and_what_a_plain_method_makes_of_it():
    images = noisy(3)
    game = a_game(degradation=Mask("half", fill=1.0))
    turn = a_turn(game, "generator", images=images)
    found = game.baselines(turn.condition, (8, 8))
    assert list(found) == ["input", "mean_fill"]
    assert torch.equal(found["input"], turn.condition[:, :1])
    for filled, real, lost in zip(found["mean_fill"][:, 0], turn.reals[:, 0], turn.condition[:, 1] == 1, strict=True):
        assert torch.equal(filled[~lost], real[~lost])
        torch.testing.assert_close(filled[lost], real[~lost].mean().expand(32))
    turn = a_turn(game := a_game(degradation=Noise()), "generator", images=images)
    assert list(game.baselines(turn.condition, (8, 8))) == ["input"]
    turn = a_turn(game := a_game(), "generator", images=images, inputs=noisy(3, channels=3))
    (found,) = game.baselines(turn.condition, (8, 8)).items()
    assert found[0] == "input" and torch.equal(found[1], turn.condition)


def test_what_is_to_be_enlarged_is_compared_with_pillows_bicubic_filter():
    small = noisy(1, size=6)
    game = a_game(degradation=Downscale(4))
    ((name, found),) = game.baselines(small / 127.5 - 1, (24, 24)).items()
    picture = Image.fromarray((small[0, 0] / 127.5 - 1).float().numpy())
    expected = np.asarray(picture.resize((24, 24), Image.Resampling.BICUBIC)).clip(-1, 1)
    assert name == "bicubic" and np.abs(found[0, 0].numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("judge_pairs", [True, False])
@pytest.mark.parametrize("several", [1, 2])
def test_a_penalty_takes_the_gradient_of_the_mean_of_an_images_patches(judge_pairs, several):
    """By the image, not by what it was made of; x by x, by hand."""
    torch.manual_seed(0)
    judges = [patch.Discriminator(8, 2 if judge_pairs else 1, width=2, norm="none", layers=1) for _ in range(several)]
    for judge in judges:
        for weight in judge.parameters():
            nn.init.normal_(weight, std=0.3)
    judge = Several(judges) if several > 1 else judges[0]
    game = a_game(discriminator=judge, judge_pairs=judge_pairs, loss=Wasserstein())
    turn = a_turn(game, "discriminator", images=noisy(3), inputs=noisy(3, seed=1))
    assert len(turn.real_logits) == 3 * 4  # patches

    def by_hand(images):
        gradients = []
        for judge in judges:
            for image, given in zip(images, turn.condition, strict=True):
                image = image[None].clone().requires_grad_()
                seen = torch.cat([image, given[None]], 1) if judge_pairs else image
                gradients.append(torch.autograd.grad(judge(seen).sum() / 4, image)[0].flatten())
        return torch.stack(gradients)

    torch.testing.assert_close(R1()(turn), by_hand(turn.reals).square().sum(1) / 2)
    share = turn.draws.uniform("gradient_penalty", 1, 1, 1)
    mixed = (share * turn.reals + (1 - share) * turn.fakes).detach()
    torch.testing.assert_close(GradientPenalty()(turn), (by_hand(mixed).norm(dim=1) - 1).square())
    assert GradientPenalty()(turn).max() > 1e-3
    GradientPenalty()(turn).mean().backward()
    assert all(p.grad is not None for p in judge.parameters() if p.ndim > 1)


def refusal(game: Translation, producer=None, **columns) -> str:
    with pytest.raises(UserError) as error:
        game.check_fits(producer or game.generator, columns)
    return str(error.value)


def test_what_does_not_fit_is_refused_before_training():
    fitting = {"images": noisy(3), "inputs": noisy(3)}
    a_game().check_fits(Factor(), fitting)
    assert "data=pairs" in refusal(a_game(), images=noisy(3))
    assert "makes (1, 8, 8), and the data are (3, 8, 8)" in refusal(
        a_game(), images=noisy(3, channels=3), inputs=noisy(3, channels=3)
    )
    assert "model.degradation: size=6" in refusal(a_game(degradation=Downscale(4)), images=noisy(3, size=6))
    latents = {"it": LatentConsistency()}
    assert "regularizer.it: it moves latents" in refusal(a_game(regularizers=latents), **fitting)
    augment = DiffAugment()
    assert "augment: D sees an image and its input" in refusal(a_game(augment=augment), **fitting)
    a_game(augment=augment, judge_pairs=False, discriminator=Weighted(1.0)).check_fits(Factor(), fitting)
    a_game(perceptual=(perceptual := Squares())).check_fits(Factor(), fitting)
    assert perceptual.prepared == (1, 8, 8)


@pytest.mark.parametrize("degradation", [Mask(fill=0.25), Mixed({"noise": Noise(), "mask": Mask(fill=0.25)})])
def test_a_persons_transparent_pixels_are_lost_ones(degradation):
    images, lost = torch.rand(1, 3, 5, 7), (torch.rand(1, 1, 5, 7) < 0.4).double()
    told = a_game(degradation=degradation).condition_for(images, lost)
    assert torch.equal(told[:, 3:], lost)
    assert (told[:, :3][(lost > 0).expand(1, 3, 5, 7)] == 0.25).all()
    assert torch.equal(told[:, :3] * (1 - lost), images * (1 - lost))


def test_a_model_that_never_saw_lost_pixels_is_told_of_none():
    images, lost = torch.rand(1, 3, 8, 8), torch.ones(1, 1, 8, 8)
    told = a_game(degradation=Noise()).condition_for(images, lost)
    assert torch.equal(told, torch.cat([images, 0 * lost], 1))
    for game in (a_game(), a_game(degradation=Downscale(2))):
        assert torch.equal(game.condition_for(images, lost), images)


def test_it_learns_what_was_wanted():
    """Negatives: y = -x."""
    inputs = noisy(32)
    game = a_game(l1_weight=10.0, discriminator=Weighted(0.1, 0.1))
    fit(engine(game, {"images": 255 - inputs, "inputs": inputs}, lr=0.05), 60, precision="64-true")
    assert game.generator.a.item() == pytest.approx(-1, abs=0.1)


def test_restoration_and_enlarging_train_on_plain_images():
    for generator, degradation, channels in ((Factor(), Mask(fill=0.5), 3), (Twice(), Downscale(2), 2)):
        judge = patch.Discriminator(8, channels, width=2, norm="none", layers=1)
        pairs = degradation.image_size(8) == 8
        game = a_game(generator, judge if pairs else Weighted(1.0), degradation=degradation, judge_pairs=pairs)
        before = generator.a.item()
        module = engine(game, {"images": noisy(16)})
        game.check_fits(generator, {"images": noisy(16)})
        fit(module, 2, precision="64-true")
        module.check_finite()
        assert generator.a.item() != before
