"""Adaptive augmentation: what it does to images, how often, and how its strength is driven."""

import math

import pytest
import torch

from conftest import engine, fit, small_game
from sparring.augment.ada import ADA
from sparring.augment.transforms import color_matrix, cutout, geometric_matrix, warp
from sparring.randomness import Draws
from sparring.training.schedules import Linear as LinearSchedule
from turns import BATCH, Smooth, a_turn, draws, pictures
from turns import float64 as float64

pytestmark = pytest.mark.usefixtures("float64")


class Fixed(Draws):
    """Chosen numbers in place of random ones, the same for every image."""

    def __new__(cls, uniform=(), normal=()):
        made = super().__new__(cls)
        object.__setattr__(made, "chosen", (uniform, normal))
        return made

    def __init__(self, uniform=(), normal=()):
        super().__init__((0,), 1, slice(0, 1))

    def uniform(self, purpose, *shape):
        return torch.tensor([self.chosen[0]])

    def normal(self, purpose, *shape):
        return torch.tensor([self.chosen[1]])


# ---- the changes ------------------------------------------------------------------------------------------------

NEVER, IMAGE = 0.99, torch.arange(16.0).view(1, 1, 4, 4)


def moved(normal: float = 0.0, **shares: float) -> torch.Tensor:
    """The image after the changes whose numbers, by their place among the draws, are given."""
    uniform = [shares.get(f"u{i}", NEVER) for i in range(14)]
    half = torch.tensor(0.5)
    return warp(IMAGE.double(), geometric_matrix(Fixed(uniform, [normal] * 4), "it", half, half, 4, 4))[0, 0]


def test_blits_by_hand():
    image = IMAGE[0, 0].double()
    assert torch.equal(moved(), image)
    assert torch.equal(moved(u0=0.0, u1=0.4), image.flip(1))
    assert torch.equal(moved(u0=0.0, u1=0.6), image), "half of those that may flip do"
    for share, quarters in ((0.3, 1), (0.6, 2), (0.8, 3)):
        assert any(torch.equal(moved(u2=0.0, u3=share), image.rot90(sign * quarters)) for sign in (-1, 1))
    assert torch.equal(moved(u4=0.0, u5=0.5, u6=0.5), image)
    wide = torch.arange(64.0, dtype=torch.float64).view(1, 1, 8, 8)
    shares = [NEVER] * 4 + [0.0, 0.99, 0.5] + [NEVER] * 7  # a pixel, an eighth, to the right
    half = torch.tensor(0.5)
    found = warp(wide, geometric_matrix(Fixed(shares, [0.0] * 4), "it", half, half, 8, 8))
    assert torch.equal(found[..., 1:], wide[..., :-1]) and torch.equal(found[..., 0], wide[..., 1]), "mirrored"


def test_geometry_by_hand():
    """Of the image 4 y + x, sampled within its bounds: bilinear sampling is exact for a plane."""
    y, x = torch.meshgrid(torch.arange(4) - 1.5, torch.arange(4) - 1.5, indexing="ij")
    plane, once = lambda x, y: 4 * (y + 1.5) + x + 1.5, 1 - math.sqrt(0.5)
    torch.testing.assert_close(moved(5.0, u7=0.0), plane(x / 2, y / 2))  # 2^(0.2 * 5): twice as large
    inside = (slice(1, 3), slice(1, 3))
    angle = (2 * 0.6 - 1) * math.pi
    turned = plane(math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y)
    for place in (8, 10):
        torch.testing.assert_close(moved(**{f"u{place}": once - 0.01, f"u{place + 1}": 0.6})[inside], turned[inside])
        assert torch.equal(moved(**{f"u{place}": once + 0.01, f"u{place + 1}": 0.6}), IMAGE[0, 0].double())
    torch.testing.assert_close(moved(2.0, u12=0.0)[inside], plane(x / 2**0.4, y * 2**0.4)[inside])
    torch.testing.assert_close(moved(1.0, u13=0.0)[1:, 1:], plane(x - 0.5, y - 0.5)[1:, 1:])  # 4 pixels / 8


def test_beyond_the_edges_lies_the_mirrored_image():
    line = torch.arange(4.0).view(1, 1, 1, 4)
    far = torch.eye(3)[None].repeat(12, 1, 1)
    far[:, 0, 2] = torch.arange(12)  # pixels come from further and further right
    found = warp(line.expand(12, 1, 1, 4), far)[:, 0, 0, 0]
    assert found.tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1]


def test_colours_by_hand():
    def after(pixel, normal=0.0, **shares):
        matrix = color_matrix(
            Fixed([shares.get(f"u{i}", NEVER) for i in range(7)], [normal] * 3), "it", torch.tensor(0.5)
        )
        return (matrix[0] @ torch.tensor([*pixel, 1.0])).tolist()

    pixel = [0.7, 0.1, -0.2]  # 0.2 on the grey axis
    assert after(pixel) == pytest.approx(pixel)
    assert after(pixel, 1.5, u0=0.0) == pytest.approx([1.0, 0.4, 0.1])
    assert after(pixel, 2.0, u1=0.0) == pytest.approx([1.4, 0.2, -0.4])
    assert after(pixel, u2=0.0, u3=0.4) == pytest.approx([0.3, -0.3, -0.6])  # minus 0.4 in all three
    assert after(pixel, u2=0.0, u3=0.6) == pytest.approx(pixel)
    assert after(pixel, u4=0.0, u5=0.5 + 1 / 3) == pytest.approx([-0.2, 0.7, 0.1])  # a third of a turn
    assert after(pixel, 1.0, u6=0.0) == pytest.approx([1.2, 0.0, -0.6])  # 0.2 + 2 (pixel - 0.2)
    assert after([0.2] * 3, 1.0, u4=0.0, u5=0.7, u6=0.0) == pytest.approx([0.2] * 3), "grey has neither"
    assert after(pixel, 1.0, u0=0.0, u1=0.0) == pytest.approx([2**0.5 * (v + 0.2) for v in pixel]), "brightness first"


def test_grey_images_change_as_three_equal_channels():
    augment, grey = ADA(p=1.0, target=None, cutout=1.0), pictures(6, channels=1)
    three = augment(grey.expand(6, 3, 8, 8), draws(6), "real")
    torch.testing.assert_close(three, augment(grey, draws(6), "real").expand_as(three))


def test_ada_cuts_out_half_the_height_and_width():
    image = torch.ones(1, 1, 8, 8)
    found = cutout(image, Fixed([0.0, 0.5, 0.25]), "it", torch.tensor(0.5))[0, 0]
    assert (found == 0).nonzero().tolist() == [[y, x] for y in range(2, 6) for x in range(4)]
    assert torch.equal(cutout(image, Fixed([0.6, 0.5, 0.25]), "it", torch.tensor(0.5)), image)


def test_the_changes_are_made_as_often_as_p_says():
    """And, where made, drawn as the paper says."""
    p, count = 0.3, 4000
    matrix = geometric_matrix(draws(count), "it", torch.tensor(p), torch.tensor(0.0), 16, 16)
    unchanged = (matrix == torch.eye(3)).all((1, 2)).double().mean()
    # a flip leaves half, a rotation a quarter; a shift of -2 to 2 pixels, of which the outer are half as likely, 1 / 16
    assert unchanged.item() == pytest.approx((1 - p / 2) * (1 - p * 3 / 4) * (1 - p * 15 / 16), abs=0.025)
    matrix = geometric_matrix(draws(count), "it", torch.tensor(0.0), torch.tensor(p), 16, 16)
    unchanged = (matrix == torch.eye(3)).all((1, 2)).double().mean()
    assert unchanged.item() == pytest.approx((1 - p) ** 4, abs=0.025)  # scale, rotation, stretch, shift
    matrix = geometric_matrix(draws(count), "it", torch.tensor(0.0), torch.tensor(1.0), 16, 16)
    size = matrix[:, :2, :2].det().log2() / -2  # of the scale alone: 2^N(0, 0.2^2)
    assert size.mean().abs() < 0.012 and size.std().item() == pytest.approx(0.2, rel=0.05)
    places_of_centres = torch.linalg.inv(matrix)[:, :2, 2]  # fractional shifts, N(0, (16 / 8)^2)
    assert places_of_centres.std(0).tolist() == pytest.approx([2.0, 2.0], rel=0.05)
    matrix = color_matrix(draws(count), "it", torch.tensor(p))
    unchanged = torch.isclose(matrix, torch.eye(4)[:3]).all(2).all(1).double().mean()
    assert unchanged.item() == pytest.approx((1 - p) ** 4 * (1 - p / 2), abs=0.025)
    along = color_matrix(draws(count), "it", torch.tensor(1.0)).sum(2)[:, 0]
    assert (along < 0).double().mean().item() == pytest.approx(0.5, abs=0.03)


# ---- its strength -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_at_p_0_nothing_changes_and_at_p_1_every_image_does(channels):
    images = pictures(64, channels=channels)
    assert torch.equal(ADA(cutout=1.0)(images, draws(64), "real"), images)
    changed = ADA(p=1.0)(images, draws(64), "real")
    assert ((changed - images).abs().amax((1, 2, 3)) > 1e-3).all()


def test_multipliers_say_which_changes_are_made():
    images = pictures(16)
    nothing = {"p": 1.0, "blit": 0.0, "geometry": 0.0, "color": 0.0}
    assert torch.equal(ADA(**nothing)(images, draws(16), "real"), images)
    found = ADA(**nothing | {"blit": 1.0})(images, draws(16), "real")
    assert set(found.flatten().tolist()) <= set(images.flatten().tolist()), "pixels are moved whole"
    found = ADA(**nothing | {"cutout": 1.0})(images, draws(16), "real")
    assert ((found == images) | (found == 0)).all() and (found == 0).any()
    found = ADA(**nothing | {"color": 1.0})(torch.zeros(16, 3, 8, 8), draws(16), "real")
    assert (found == found[:, :, :1, :1]).all() and (found != 0).all(), "brightness alone tells on black"


def judged(augment: ADA, logits: list) -> float:
    """p after a turn of the discriminator in which it gave these logits to the reals."""
    augment.observe(torch.tensor(logits), reals=BATCH)
    with torch.no_grad():
        augment.after()
    return augment.p.item()


def test_p_rises_when_the_discriminator_is_sure_and_falls_when_it_is_not():
    augment = ADA(p=0.5, adjust_kimg=0.1)  # 16 reals move it by 0.16
    sure, unsure = [9.0] * BATCH, [1.0, 1, 1, -1]  # E sign: 1 and 1/2, target 0.6
    assert [judged(augment, sure) for i in range(4)] == pytest.approx([0.5, 0.5, 0.5, 0.66])
    assert [judged(augment, unsure) for i in range(4, 8)] == pytest.approx([0.66, 0.66, 0.66, 0.5])
    assert [judged(augment, sure) for i in range(8, 32)][-1] == 1.0
    assert [judged(augment, unsure) for i in range(32, 64)][-1] == 0.0
    assert ADA().adjust_kimg == 500 and ADA().target == 0.6, "so that 500,000 reals take it from 0 to 1"


def test_r_t_is_of_all_reals_since_the_last_move():
    augment = ADA(p=0.5, adjust_kimg=0.1)
    found = [judged(augment, [sign] * 4) for sign in (1.0, 1.0, 1.0, -1.0)]
    assert found[-1] == pytest.approx(0.34), "(12 - 4) / 16 is below the target"
    assert augment.signs.tolist() == [0.0, 0.0, 0.0]
    assert judged(ADA(p=0.5, adjust_every=1, adjust_kimg=0.1), [1.0] * 4) == pytest.approx(0.54)


@pytest.mark.parametrize(
    ("logits", "p"), [([1.0] * (BATCH // 2), 0.54), ([[1.0, -1.0]] * BATCH, 0.46)], ids=["packs", "two discriminators"]
)
def test_packs_count_for_all_their_reals_and_of_several_discriminators_the_mean_sign(logits, p):
    assert judged(ADA(p=0.5, adjust_every=1, adjust_kimg=0.1), logits) == pytest.approx(p)


@pytest.mark.parametrize("options", [{"accumulate": 2}, {"n_dis": 3}, {}])
def test_p_follows_the_reals_that_d_saw_however_its_turns_are_cut(options):
    module = engine(small_game(augment=ADA(adjust_kimg=1.0, target=-2.0)), batch_size=8, **options)  # p only rises
    fit(module, 8)
    turns = 8 * options.get("n_dis", 1)
    assert module.game.augment.p.item() == pytest.approx(turns // 4 * 4 * 8 / 1000)


def test_p_is_in_the_checkpoint_and_in_the_log():
    augment = ADA(p=0.25)
    judged(augment, [1.0] * BATCH)
    again = ADA()
    again.load_state_dict(augment.state_dict())
    assert again.p.item() == 0.25 and again.signs.tolist() == [4.0, 4.0, 1.0]
    assert again.notes()["augment/p"].item() == 0.25


def test_a_fixed_p_stays_and_a_schedule_multiplies_it():
    fixed = ADA(p=0.5, target=None, adjust_every=1, adjust_kimg=0.001)
    assert judged(fixed, [1.0] * BATCH) == 0.5
    falling = ADA(p=1.0, target=None, schedule=LinearSchedule(end_kimg=10.0))
    turns = [a_turn(Smooth(), kimg=kimg, augment=falling) for kimg in (0.0, 5.0, 10.0)]
    changed = [not torch.equal(turn.judge(turn.reals, "real"), turn.game.discriminate(turn.reals)) for turn in turns]
    assert changed == [True, True, False] and falling.notes(0.5)["augment/p"].item() == 0.5


def test_p_follows_a_target_or_a_schedule():
    with pytest.raises(ValueError, match="target=null"):
        ADA(schedule=LinearSchedule(end_kimg=1.0))
