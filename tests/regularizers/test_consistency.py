"""Consistency regularizers: what the discriminator is asked to see alike."""

import pytest
import torch
from torch import nn

from sparring.augment.diffaugment import DiffAugment
from sparring.augment.shifts import flip_and_shift
from sparring.regularizers.consistency import BalancedConsistency, Consistency, LatentConsistency, LatentDiversity
from turns import BATCH, SHAPE, Linear, Maker, Smooth, a_turn, check_gradients, draws, two
from turns import float64 as float64

pytestmark = pytest.mark.usefixtures("float64")
FOR_D = [Consistency, BalancedConsistency, LatentConsistency]


class Corner(nn.Module):
    """D(x) = the sum of the first column: changed by a flip."""

    def forward(self, images, labels=None):
        return images[..., 0].flatten(1).sum(1)


def test_the_slight_change_is_a_flip_and_a_shift_by_an_eighth_with_mirrored_edges():
    ramp = torch.arange(256.0).view(1, 1, 16, 16)
    places = torch.nn.functional.pad(ramp, (2, 2, 2, 2), "reflect")
    possible = {}  # every flip and shift, by hand: a window of the padded image
    for flip in (False, True):
        padded = torch.nn.functional.pad(ramp.flip(3), (2, 2, 2, 2), "reflect") if flip else places
        for down in range(5):
            for right in range(5):
                possible[tuple(padded[0, 0, down : down + 16, right : right + 16].flatten().tolist())] = (
                    flip,
                    down,
                    right,
                )
    changed = flip_and_shift(ramp.expand(1000, 3, 16, 16), draws(1000), "it")
    assert torch.equal(changed[:, 0], changed[:, 2])
    found = [possible[tuple(image.flatten().tolist())] for image in changed[:, 0]]
    assert set(found) == set(possible.values()), "all fifty are there"
    assert 450 < sum(flip for flip, _, _ in found) < 550


def test_consistency_of_known_changes():
    """An image of one row and two columns can only be flipped."""
    turn = a_turn(Corner())
    turn.reals = torch.tensor([[1.0, 4.0]]).view(1, 1, 1, 2).expand(BATCH, 1, 1, 2)
    turn.fakes = torch.tensor([[0.0, 2.0]]).view(1, 1, 1, 2).expand(BATCH, 1, 1, 2)
    real, fake = (
        flip_and_shift(x, turn.draws, f"consistency {name}")[:, 0, 0, 0]
        for x, name in ((turn.reals, "real"), (turn.fakes, "fake"))
    )
    assert {*real.tolist(), *fake.tolist()} == {1.0, 4.0, 0.0, 2.0}, "some are flipped, some are not"
    torch.testing.assert_close(Consistency()(turn), (real == 4) * 9.0)
    torch.testing.assert_close(BalancedConsistency()(turn), (real == 4) * 9.0 + (fake == 2) * 4.0)
    torch.testing.assert_close(BalancedConsistency(fakes=0.5)(turn), (real == 4) * 9.0 + (fake == 2) * 2.0)


def test_latent_consistency_of_linear_networks_is_the_square_of_a_normal_number():
    """D(G(z + d)) - D(G(z)) = w A d is normal, with the standard deviation sigma |w A|."""
    generator, discriminator = Maker(tanh=False), Linear()
    turn = a_turn(discriminator, batch=4000, generator=generator)
    turn.fakes = turn.game.produce(turn.latents).detach()
    spread = 0.1 * (discriminator.weight @ generator.linear.weight).norm()
    value = LatentConsistency(sigma=0.1)(turn).detach()
    torch.testing.assert_close(value.mean(), spread.detach() ** 2, rtol=0.08, atol=0)
    torch.testing.assert_close((value < spread**2).double().mean(), torch.tensor(0.6827), rtol=0.05, atol=0)
    torch.testing.assert_close(LatentConsistency(sigma=0.2)(turn), 4 * value, rtol=1e-6, atol=1e-12)


def test_latent_diversity_is_the_mean_square_between_neighbours_negated():
    generator = Maker(tanh=False)
    turn = a_turn(Linear(), player="generator", batch=4000, generator=generator)
    value = LatentDiversity(sigma=0.1)(turn)
    assert value.shape == (4000,) and (value <= 0).all()
    expected = -(0.1**2) * generator.linear.weight.square().sum() / 18  # E |A d|^2 = sigma^2 |A|^2
    torch.testing.assert_close(value.mean(), expected, rtol=0.05, atol=0)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("kind", FOR_D)
def test_the_discriminators_terms_train_the_discriminator_alone(kind, several):
    torch.manual_seed(0)
    turn = a_turn(two(Smooth) if several else Smooth(), augment=DiffAugment(["color"]))
    turn.game.generator.requires_grad_(False)  # as the engine has it in this turn

    def value():
        for made in ("real_logits", "fake_logits"):
            turn.__dict__.pop(made, None)  # the weights were moved
        return kind(weight=1.0)(turn).mean()

    assert kind()(turn).shape == ((BATCH, 2) if several else (BATCH,)) and kind().player == "discriminator"
    check_gradients(value, [weight for weight in turn.game.discriminator.parameters() if weight.ndim > 1], 1e-7)
    assert all(weight.grad is None for weight in turn.game.generator.parameters())


def test_latent_diversity_trains_the_generator():
    torch.manual_seed(0)
    turn = a_turn(Smooth(), player="generator")

    def value():
        turn.__dict__.pop("fakes", None)
        return LatentDiversity()(turn).mean()

    assert LatentDiversity().player == "generator"
    check_gradients(value, [turn.game.generator.linear.weight], 1e-7)


def test_an_augmentation_is_the_same_for_both_sides_of_a_comparison():
    class Identity(DiffAugment):
        def forward(self, images, draws, purpose, factor=1.0):
            self.purposes.append(purpose)
            return super().forward(images, draws, purpose, factor)

    for kind, purposes in ((Consistency, ["real"] * 2), (LatentConsistency, ["fake"] * 2)):
        augment = Identity()
        augment.purposes = []
        kind()(a_turn(Smooth(), augment=augment))
        assert augment.purposes == purposes


@pytest.mark.parametrize("kind", FOR_D)
def test_differences_are_taken_in_float32_under_mixed_precision(kind):
    torch.set_default_dtype(torch.float32)
    turn = a_turn(Smooth())
    with torch.autocast("cpu", torch.bfloat16):
        value = kind()(turn)
        assert turn.fake_logits.dtype == torch.bfloat16 and value.dtype == torch.float32


def test_points_are_not_flipped():
    with pytest.raises(ValueError, match=r"only images .* can be flipped"):
        Consistency().check_fits(a_turn(Smooth()).game, torch.zeros(BATCH, 2))
    with pytest.raises(ValueError, match="one for each image"):
        flip_and_shift(torch.zeros(2, *SHAPE), draws(4), "it")
