"""How images are damaged: what all kinds have in common, then each against numbers by hand or another's program."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch._subclasses import FakeTensorMode

from sparring.config.instantiate import build
from sparring.data.degradations.jpeg import JPEG
from sparring.data.degradations.masks import Mask
from sparring.data.degradations.mixed import Mixed
from sparring.data.degradations.quality import Blur, Downscale, Noise
from sparring.data.mnist import MNISTMini
from turns import draws
from turns import float64 as float64

EVERY = {
    "box": lambda: Mask(),
    "strokes": lambda: Mask("strokes"),
    "half": lambda: Mask("half"),
    "shapes": lambda: Mask(["box", "strokes", "half"]),
    "noise": lambda: Noise((10, 50)),
    "jpeg": lambda: JPEG((10, 40)),
    "blur": lambda: Blur((0.5, 2)),
    "downscale": lambda: Downscale(4),
    "mixed": lambda: Mixed({"mask": Mask(), "noise": Noise(), "jpeg": JPEG(), "blur": Blur()}),
}


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    """48 digits (48, 1, 28, 28) in [-1, 1]."""
    return as_images(torch.from_numpy(MNISTMini().load()[0][::105])[:, None])


@pytest.fixture(scope="module")
def pictures(digits) -> torch.Tensor:
    """16 pictures (16, 3, 28, 28): digits of three colours on a gradient, with a grain."""
    across = torch.linspace(-60, 60, 28)
    ground = torch.stack([across.expand(28, 28), across[:, None].expand(28, 28), -across.expand(28, 28)])
    grain = torch.randn(16, 3, 28, 28, generator=torch.Generator().manual_seed(0)) * 6
    return as_images((levels(digits).view(16, 3, 28, 28) / 2 + 60 + ground + grain).round().clamp(0, 255))


def as_images(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float() / 127.5 - 1


def levels(images: torch.Tensor) -> torch.Tensor:
    return (images + 1) * 127.5


def constant(value: float, count: int = 4, channels: int = 1, size: int = 32) -> torch.Tensor:
    return torch.full((count, channels, size, size), value)


# ---- what all have in common ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY)
def test_what_is_done_is_a_function_of_turn_and_place_in_the_global_batch(kind, pictures):
    degradation, same = EVERY[kind](), pictures[:1].expand(12, -1, -1, -1)
    damaged, mask = degradation(same, draws(12))
    assert torch.equal(damaged, degradation(same, draws(12))[0])
    for part in (slice(0, 5), slice(5, 12)):  # as two ranks, or two micro-batches
        torch.testing.assert_close(degradation(same[part], draws(12).only(part))[0], damaged[part])
        if degradation.masks:
            assert torch.equal(degradation(same[part], draws(12).only(part))[1], mask[part])
    if kind != "downscale":
        assert not torch.equal(damaged, degradation(same, draws(12, 1))[0]), "another turn"
        assert len(damaged.unique(dim=0)) > 3, "images differ"


@pytest.mark.parametrize("shape", [(4, 3, 28, 28), (4, 1, 20, 36), (4, 3, 4, 8)])
@pytest.mark.parametrize("kind", EVERY)
def test_images_of_any_size_stay_images_and_are_left_as_they_were(kind, shape):
    degradation = EVERY[kind]()
    clean = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kept = clean.clone()
    damaged, mask = degradation(clean, draws(4))
    assert torch.equal(clean, kept)
    assert damaged.shape == (*shape[:2], *(degradation.image_size(size) for size in shape[2:]))
    assert damaged.min() >= -1 and damaged.max() <= 1
    assert not torch.equal(damaged, clean)
    assert (mask is not None) == degradation.masks
    if mask is not None:
        assert mask.shape == (shape[0], 1, *shape[2:]) and mask.dtype == clean.dtype
        assert set(mask.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("kind", EVERY)
def test_precision_is_float32_or_what_the_images_have(kind, pictures):
    degradation = EVERY[kind]()
    damaged, _ = degradation(pictures[:4], draws(4))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(degradation(pictures[:4], draws(4))[0], damaged)
    assert degradation(pictures[:4].bfloat16(), draws(4))[0].dtype == torch.float32
    precise, mask = degradation(pictures[:4].double(), draws(4))
    assert precise.dtype == torch.float64 and (mask is None or mask.dtype == torch.float64)
    assert (levels(precise) - levels(damaged)).abs().mean() < 0.05  # JPEG may round otherwise here and there


@pytest.mark.parametrize("kind", EVERY)
def test_nothing_waits_for_what_was_drawn(kind):
    with FakeTensorMode(allow_non_fake_inputs=True):  # without values: reading one is an error
        EVERY[kind]()(torch.zeros(4, 3, 16, 16), draws(4))


def test_what_cannot_be_damaged_is_refused():
    for wrong in (torch.zeros(4, 8, 8), torch.zeros(4, 1, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="only images"):
            Noise()(wrong, draws(4))
    with pytest.raises(ValueError, match="2 images .* draws for 4"):
        Noise()(torch.zeros(2, 1, 8, 8), draws(4))
    with pytest.raises(ValueError, match="JPEG .* these have 2"):
        JPEG()(torch.zeros(4, 2, 8, 8), draws(4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Noise([50, 10]), r"strength=\[50, 10\]: .*\[low, high\]"),
        (lambda: Mixed({}), "parts={}"),
        (lambda: Mixed({"noise": Noise(), "small": Downscale(2)}), "parts.small: Downscale changes the size"),
    ],
)
def test_a_wrong_setting_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- quality ----------------------------------------------------------------------------------------------------


def test_noise_has_the_deviation_asked_for_in_levels_of_8_bits():
    noise = levels(Noise(10)(constant(0.0, 50, channels=3), draws(50))[0]) - 127.5
    assert abs(noise.std() - 10) < 0.1 and abs(noise.mean()) < 0.15
    assert torch.corrcoef(noise.view(150, -1)).fill_diagonal_(0).abs().max() < 0.2, "each channel has its own"
    varied = (levels(Noise([5, 20])(constant(0.0, 200), draws(200))[0]) - 127.5).flatten(1).std(1)
    assert 4.5 < varied.min() < 6 and 19 < varied.max() < 21 and abs(varied.mean() - 12.5) < 1
    assert Noise(50)(constant(0.9), draws(4))[0].max() == 1, "clamped"


@pytest.mark.usefixtures("float64")
def test_the_blur_of_a_point_is_a_gaussian():
    image = torch.full((1, 1, 31, 31), 0.0)
    image[0, 0, 15, 15] = 1
    places = torch.arange(-4.0, 5)
    kernel = (-places.square() / 2).exp()
    kernel /= kernel.sum()  # 0.3989, 0.2420, 0.0540 ...
    found = Blur(1.0)(image, draws(1))[0][0, 0]
    torch.testing.assert_close(found[11:20, 11:20], kernel[:, None] * kernel)
    assert abs(found.sum() - 1) < 1e-12


@pytest.mark.usefixtures("float64")
def test_a_blur_mirrors_the_edge_keeps_a_flat_image_and_takes_each_images_width():
    torch.testing.assert_close(Blur(3.0)(constant(0.7, size=5), draws(4))[0], constant(0.7, size=5))
    side = torch.tensor([1.0, 0, 0, 0, 0, 0]).expand(1, 1, 6, 6)  # a light first column, which has no twin
    weights = torch.tensor([1.0, np.exp(-2.0), np.exp(-8.0)])  # of a deviation of half a pixel
    row = weights / (weights[0] + 2 * weights[1:].sum())
    torch.testing.assert_close(Blur(0.5)(side, draws(1))[0][0, 0, 3], torch.tensor([*row, 0, 0, 0]))
    second = torch.tensor([0.0, 1, 0, 0, 0, 0]).expand(1, 1, 6, 6)  # ... and a second, whose twin lies beyond
    assert torch.isclose(Blur(0.5)(second, draws(1))[0][0, 0, 3, 0], 2 * row[1])
    image = torch.rand(8, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    narrow, wide, varied = (Blur(sigma)(image, draws(8))[0].flatten(1).std(1) for sigma in (0.5, 2.0, (0.5, 2.0)))
    assert ((wide < varied) & (varied < narrow)).all()
    torch.testing.assert_close(Blur(0)(image, draws(8))[0], image)


def test_fewer_pixels_are_pillows(digits):
    for scale in (2, 4):
        size = (28 // scale,) * 2
        expected = [np.asarray(Image.fromarray(image[0].numpy()).resize(size, Image.BICUBIC)) for image in digits]
        found, mask = Downscale(scale)(digits, draws(len(digits)))
        assert mask is None and Downscale(scale).image_size(28) == size[0]
        torch.testing.assert_close(found[:, 0], torch.from_numpy(np.stack(expected)).clamp(-1, 1), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="size=30: not divisible by scale=4"):
        Downscale(4).check_fits(30)
    with pytest.raises(ValueError, match="size=30"):
        Downscale(4)(torch.zeros(4, 1, 32, 30), draws(4))


# ---- JPEG -------------------------------------------------------------------------------------------------------


def through_pillow(images: torch.Tensor, quality: int, **options) -> torch.Tensor:
    decoded = []
    for image in levels(images).round().byte():
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).squeeze(2).numpy()).save(file, "JPEG", quality=quality, **options)
        decoded.append(np.array(Image.open(file)).reshape(*image.shape[1:], -1))
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("quality", [5, 20, 50, 90])
def test_jpeg_is_pillows(quality, digits, pictures):
    for images in (digits, pictures, pictures[:, :, :27, :21]):
        there = through_pillow(images, quality)
        found, mask = JPEG(quality)(images, draws(len(images)))
        assert mask is None
        difference = (levels(found) - there).abs()
        assert difference.mean() < 0.8, "of 255 levels"
        assert difference.mean() < (there - levels(images)).abs().mean() / 4, "little beside what JPEG loses"
    full = levels(JPEG(quality, subsampling=False)(pictures, draws(16))[0])
    assert (full - through_pillow(pictures, quality, subsampling=0)).abs().mean() < 0.8
    assert (full - through_pillow(pictures, quality, subsampling=2)).abs().mean() > 1


def test_the_result_has_whole_levels_and_is_worse_at_a_lower_quality(pictures):
    found = [levels(JPEG(quality)(pictures, draws(16))[0]) for quality in (90, 50, 10)]
    for one in found:
        torch.testing.assert_close(one, one.round(), atol=1e-4, rtol=0)
    losses = [(one - levels(pictures)).abs().mean() for one in found]
    assert losses == sorted(losses)
    flat = constant(25 / 127.5, channels=3)  # rounds to a level: a flat image has but one number to round
    assert (JPEG(90)(flat, draws(4))[0] - flat).abs().max() <= 2 / 127.5


def test_each_image_gets_a_quality_of_the_range_both_ends_included(pictures):
    same = pictures[:1].expand(60, -1, -1, -1)
    varied = JPEG([30, 32])(same, draws(60))[0]
    each = torch.stack([(varied == JPEG(q)(same, draws(60))[0]).flatten(1).all(1) for q in (30, 31, 32)])
    assert (each.sum(0) == 1).all() and (each.sum(1) > 8).all()


# ---- several ----------------------------------------------------------------------------------------------------


def test_of_a_mixture_each_image_gets_one_kind_and_the_mask_says_where():
    clean = constant(0.5, 400, size=8)
    clean[:, :, :, 4:] = -0.5
    parts = {"mask": Mask("half"), "noise": Noise(10), "blur": Blur(1.0)}
    damaged, mask = Mixed(parts)(clean, draws(400))
    masked = mask.amax((1, 2, 3)) == 1
    blurred = (damaged == Blur(1.0)(clean, draws(400))[0]).flatten(1).all(1)
    noisy = (damaged != clean).flatten(1).all(1) & ~blurred
    assert (masked.int() + blurred.int() + noisy.int() == 1).all()
    for kind in (masked, blurred, noisy):
        assert abs(kind.double().mean() - 1 / 3) < 0.08
    lost = mask[masked] == 1
    assert (damaged[masked][lost] == 0).all() and torch.equal(damaged[masked][~lost], clean[masked][~lost])
    assert (mask[~masked] == 0).all()
    assert len(mask[masked].unique(dim=0)) == 4, "which half is another draw than which kind"


def test_a_mixture_without_masks_has_none_and_may_hold_mixtures():
    plain = Mixed({"noise": Noise(), "blur": Blur()})
    assert not plain.masks and plain(constant(0.1), draws(4))[1] is None
    nested = Mixed(
        {"inner": Mixed({"dark": Mask("box", 0.9, True, -1.0), "light": Mask("box", 0.9, True, 1.0)}), "b": Blur()}
    )
    damaged, mask = nested(constant(0.1, 300), draws(300))
    middle = damaged[:, 0, 16, 16]
    assert nested.masks and torch.equal(mask[:, 0, 16, 16] == 1, (middle - 0.1).abs() > 0.5)
    for value, share in ((-1, 0.25), (1, 0.25), (0.1, 0.5)):
        assert abs((middle - value).abs().lt(1e-5).double().mean() - share) < 0.08


# ---- the configuration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mask", "noise", "jpeg", "blur", "downscale", "mixed"])
def test_every_file_of_the_group_builds_what_it_names(name, composed):
    node = composed(f"+model/degradation={name}").model.degradation
    degradation = build(node, "model.degradation")
    assert degradation(torch.zeros(2, 3, 28, 28), draws(2))[0].shape[1] == 3
    if name == "mixed":
        assert list(degradation.parts) == ["mask", "noise", "jpeg", "blur"]


def test_ranges_and_lists_come_from_the_command_line(composed):
    cfg = composed(
        "+model/degradation=mixed", "model.degradation.parts.noise.strength=[5,50]", "~model.degradation.parts.jpeg"
    )
    parts = build(cfg.model.degradation, "model.degradation").parts
    assert list(parts) == ["mask", "noise", "blur"] and parts["noise"].strength == (5, 50)
