"""What all augmentations have in common, and DiffAugment's own."""

import pytest
import torch

from sparring.augment.ada import ADA
from sparring.augment.diffaugment import DiffAugment, color, cutout, translation
from sparring.augment.shifts import shift_with_zeros
from sparring.augment.transforms import color_matrix
from sparring.regularizers.gradients import R1
from turns import Linear, Smooth, a_turn, check_gradients, draws, pictures, two
from turns import float64 as float64

pytestmark = pytest.mark.usefixtures("float64")
ALL = {"always": lambda: ADA(p=1.0, target=None, cutout=1.0), "diffaugment": DiffAugment}


# ---- what all have in common ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ALL)
def test_what_is_done_is_a_function_of_turn_purpose_and_place_in_the_batch(kind, channels):
    augment, images = ALL[kind](), pictures(1, channels=channels).expand(6, -1, -1, -1)
    found = augment(images, draws(6), "real")
    assert found.shape == images.shape
    assert torch.equal(found, augment(images, draws(6), "real"))
    assert torch.equal(found[2:4], augment(images[2:4], draws(6).only(slice(2, 4)), "real")), "ranks see the same"
    for other in (augment(images, draws(6), "fake"), augment(images, draws(6, 1), "real"), images, found.roll(1, 0)):
        assert all(not torch.allclose(a, b, atol=1e-3) for a, b in zip(found, other, strict=True))


@pytest.mark.parametrize("kind", ALL)
def test_they_are_differentiable_twice(kind):
    augment, images = ALL[kind](), pictures(2, 4).requires_grad_()
    torch.autograd.gradcheck(lambda x: augment(x, draws(2), "real"), images)
    torch.autograd.gradgradcheck(lambda x: augment(x, draws(2), "real").tanh(), images)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("kind", ALL)
def test_penalties_are_taken_through_them(kind, several):
    torch.manual_seed(0)
    discriminator = two(Smooth) if several else Smooth()
    augmented, plain = (a_turn(discriminator, augment=augment) for augment in (ALL[kind](), None))
    assert (R1()(augmented) - R1()(plain)).abs().max() > 1e-4
    check_gradients(lambda: R1()(augmented).mean(), [w for w in discriminator.parameters() if w.ndim > 1])


def test_a_penalty_through_a_change_of_contrast_is_that_of_the_steeper_discriminator():
    turn = a_turn(Linear(), augment=ADA(p=1.0, target=None, blit=0.0, geometry=0.0))
    matrix = color_matrix(turn.draws, "real", torch.tensor(1.0))[:, :, :3]
    slope = torch.einsum("bij,ip->bjp", matrix, turn.game.discriminator.weight.view(3, 6))
    torch.testing.assert_close(R1()(turn), slope.square().sum((1, 2)) / 2)


@pytest.mark.parametrize("kind", ALL)
def test_under_mixed_precision_they_are_as_in_float32(kind):
    torch.set_default_dtype(torch.float32)
    augment, images = ALL[kind](), pictures(4)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = augment(images, draws(4), "real")
        assert augment(images.bfloat16(), draws(4), "real").dtype == torch.float32
    torch.testing.assert_close(mixed, augment(images, draws(4), "real"))


@pytest.mark.parametrize("kind", ALL)
def test_what_is_no_image_is_refused(kind):
    for wrong in (torch.zeros(4, 2), torch.zeros(4, 2, 8, 8)):
        with pytest.raises(ValueError, match="only images"):
            ALL[kind]()(wrong, draws(4), "real")
    with pytest.raises(ValueError, match="2 images .* draws for 4"):
        ALL[kind]()(pictures(2), draws(4), "real")


# ---- DiffAugment ------------------------------------------------------------------------------------------------


def test_colour_by_hand():
    image = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-0.4, 0.0]]).view(1, 3, 1, 2)
    same = torch.tensor([[0.5, 0.5, 0.5]])
    torch.testing.assert_close(color(image, same), image)
    torch.testing.assert_close(color(image, same + torch.tensor([[0.3, 0, 0]])), image + 0.3)
    grey = torch.tensor([0.2, 0.0]).expand(1, 3, 1, 2)  # means over the channels
    torch.testing.assert_close(color(image, torch.tensor([[0.5, 0.0, 0.5]])), grey)
    torch.testing.assert_close(color(image, torch.tensor([[0.5, 0.75, 0.5]])), grey + 1.5 * (image - grey))
    torch.testing.assert_close(color(image, torch.tensor([[0.5, 0.5, 0.0]])), 0.1 + 0.5 * (image - 0.1))
    one = image[:, :1]
    torch.testing.assert_close(color(one, torch.tensor([[0.5, 0.9, 0.5]])), one)  # grey has no saturation


def test_a_shift_lets_zeros_in():
    image = torch.arange(1.0, 10).view(1, 1, 3, 3)
    down, right = torch.tensor([1]), torch.tensor([-1])
    assert shift_with_zeros(image, down, right)[0, 0].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]
    found = translation(torch.ones(3000, 1, 16, 16), draws(3000).uniform("it", 3))[:, 0]
    ranges = found.sum((1, 2)).unique().tolist()
    assert ranges == sorted({(16 - a) * (16 - b) * 1.0 for a in range(3) for b in range(3)})
    assert abs((found.sum((1, 2)) == 256).double().mean() - 1 / 25) < 0.015, "all shifts are as likely"


def test_cutout_zeroes_half_the_height_and_width_around_any_pixel():
    images = torch.ones(1, 1, 8, 6)
    middle = cutout(images, torch.tensor([[0.5, 0.5]]))[0, 0]  # centres 4 and 3: rows 2 to 5, columns 2 to 4
    assert (middle == 0).nonzero().tolist() == [[y, x] for y in range(2, 6) for x in range(2, 5)]
    assert (cutout(images, torch.tensor([[0.0, 0.0]])) == 0).sum() == 2 * 2, "a corner"
    many = cutout(torch.ones(500, 1, 8, 8), draws(500).uniform("it", 3))
    heights = (many == 0).any(3).sum(2).unique().tolist()
    assert heights == [2, 3, 4]


def test_policies_are_applied_in_the_order_given():
    images = pictures(4, 8)
    assert (DiffAugment(["cutout"])(images, draws(4), "real") == 0).any()
    assert not (DiffAugment(["cutout", "color"])(images, draws(4), "real") == 0).any()
