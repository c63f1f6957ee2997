"""Lost pixels: how many, where, and what fills them in."""

import pytest
import torch

from sparring.data.degradations.masks import Mask, mean_fill
from turns import draws, pictures
from turns import float64 as float64


@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 32), (17, 23)])
@pytest.mark.parametrize("area", [0.1, 0.25, 0.5, 0.9])
def test_so_many_pixels_are_lost(area, height, width):
    images, asked = torch.zeros(20, 1, height, width), area * height * width
    for centred in (False, True):
        lost = Mask("box", area, centred)(images, draws(20))[1].sum((1, 2, 3))
        assert lost.unique().numel() == 1 and abs(lost[0] - asked) <= height / 2
    assert set(Mask("strokes", area)(images, draws(20))[1].sum((1, 2, 3)).tolist()) == {round(asked)}
    assert set(Mask("half", area)(images, draws(20))[1].sum((1, 2, 3)).tolist()) <= {
        height // 2 * width,
        width // 2 * height,
    }
    assert Mask("box", 0.001)(images, draws(20))[1].sum() == 20, "at least a pixel"


def test_a_box_is_one_rectangle_in_the_middle_or_anywhere_inside():
    middle = Mask("box", 0.25, centred=True)(torch.zeros(4, 1, 8, 12), draws(4))[1]
    expected = torch.zeros(8, 12)
    expected[2:6, 3:9] = 1
    assert torch.equal(middle, expected.expand(4, 1, 8, 12))
    anywhere = Mask("box", 0.25)(torch.zeros(2000, 1, 8, 8), draws(2000))[1][:, 0]
    rows, columns = anywhere.amax(2), anywhere.amax(1)
    assert torch.equal(anywhere, rows[:, :, None] * columns[:, None]), "a product of rows and columns"
    for line in (rows, columns):
        assert (line.sum(1) == 4).all() and (line.diff(dim=1).abs().sum(1) <= 2).all(), "four in a row"
        starts = line.argmax(1).bincount(minlength=5) / 2000
        assert len(starts) == 5 and (starts - 0.2).abs().max() < 0.04, "every place as likely"


def test_each_half_is_lost_as_often():
    masks = Mask("half")(torch.zeros(2000, 1, 6, 6), draws(2000))[1]
    kinds, counts = masks.unique(dim=0, return_counts=True)
    assert len(kinds) == 4 and (kinds.sum((1, 2, 3)) == 18).all()
    assert {tuple(kind[0, ::5, ::5].flatten().tolist()) for kind in kinds} == {
        (1.0, 1.0, 0.0, 0.0),
        (0.0, 0.0, 1.0, 1.0),
        (1.0, 0.0, 1.0, 0.0),
        (0.0, 1.0, 0.0, 1.0),
    }
    assert (counts / 2000 - 0.25).abs().max() < 0.04


def test_strokes_hang_together_and_go_everywhere():
    masks = Mask("strokes", 0.2)(torch.zeros(400, 1, 16, 48), draws(400))[1]
    neighbours = torch.nn.functional.avg_pool2d(masks, 3, 1, 1, divisor_override=1) - masks
    assert (neighbours[masks > 0] > 0.5).double().mean() > 0.99, "hardly a pixel by itself"
    often = masks.mean((0, 1))
    assert often.min() > 0.02 and often.max() < 0.4, "corners are seldom reached"
    assert len(masks.unique(dim=0)) == 400


def test_lost_pixels_hold_the_fill_and_the_others_what_they_held():
    clean = pictures(16)
    damaged, mask = Mask(["box", "strokes"], fill=-0.5)(clean, draws(16))
    lost = mask.expand_as(clean) == 1
    assert (damaged[lost] == -0.5).all() and torch.equal(damaged[~lost], clean[~lost])


def test_of_several_shapes_each_image_gets_one():
    images, three = torch.zeros(300, 1, 16, 16), ["box", "strokes", "half"]
    some = Mask(three, 0.2)(images, draws(300))[1]
    each = torch.stack([(some == Mask(shape, 0.2)(images, draws(300))[1]).all(3).all(2)[:, 0] for shape in three])
    assert (each.sum(0) == 1).all() and (each.double().mean(1) - 1 / 3).abs().max() < 0.1


@pytest.mark.usefixtures("float64")
def test_the_mean_of_what_is_known_fills_in_what_is_lost():
    image = torch.tensor([[[[0.1, 0.2], [0.6, 9.0]], [[-0.3, -0.3], [0.0, 9.0]]]])
    mask = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]])
    expected = torch.tensor([[[[0.1, 0.2], [0.6, 0.3]], [[-0.3, -0.3], [0.0, -0.2]]]])
    torch.testing.assert_close(mean_fill(image, mask), expected)
    assert torch.equal(mean_fill(image, torch.zeros_like(mask)), image)
    assert torch.equal(mean_fill(image, torch.ones_like(mask)), torch.zeros_like(image))
