"""Scores of modes: samplers whose scores are known."""

import math

import pytest
import torch

from conftest import Projection, TensorSet, noise_images
from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.image_grids import scatter
from sparring.data.mixture import Grid, Mixture, Ring
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.extractors.modes import ModeFinder
from sparring.evaluation.image_sets import Decoded
from sparring.evaluation.metrics.modes import Modes

CPU = torch.device("cpu")


def scores_of(source: Mixture, points: torch.Tensor, tmp_path, **options):
    data = source.drawn()
    evaluator = Evaluator(ModeFinder(), {"modes": Modes(**options)}, reals="all", batch_size=300)
    assert evaluator.lower_is_better[0] == "reverse_kl"  # known before the data are: W&B gets it at the start
    evaluator.prepare(Decoded(data), CPU, tmp_path, data)
    entry, pictures = evaluator(lambda seed: TensorSet(points), [0])
    return entry["scores"], pictures


def draws(source, count, seed=1, sigma=1.0, modes=None):
    draw = torch.Generator().manual_seed(seed)
    centres = source.centres if modes is None else source.centres[modes]
    chosen = centres[torch.randint(len(centres), (count,), generator=draw)]
    return chosen + sigma * source.sigma * torch.randn(count, 2, generator=draw)


@pytest.mark.parametrize("source", [Ring(), Grid()])
def test_a_perfect_sampler_has_every_mode_and_98_9_percent_of_high_quality(source, tmp_path):
    scores, _ = scores_of(source, draws(source, 20_000), tmp_path)
    assert scores["modes_recovered"] == len(source.centres)
    assert scores["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=3e-3)
    assert scores["within_mode_spread"] == pytest.approx(1, abs=0.02)
    assert scores["reverse_kl"] == pytest.approx(len(source.centres) / 2 / 20_000, rel=0.8)  # of a finite sample


def test_missing_modes_shrunken_modes_and_bridges_have_scores_of_their_own(tmp_path):
    ring = Ring()
    half, _ = scores_of(ring, draws(ring, 10_000, modes=[0, 1, 2, 3]), tmp_path)
    assert half["modes_recovered"] == 4 and half["reverse_kl"] == pytest.approx(math.log(2), abs=2e-3)
    shrunken, _ = scores_of(ring, draws(ring, 10_000, sigma=0.5), tmp_path)
    assert shrunken["high_quality"] == 1
    assert shrunken["within_mode_spread"] == pytest.approx(0.513, abs=0.01)  # .5 / .974
    bridges = ring.centres.lerp(ring.centres.roll(1, 0), 0.5).repeat(1000, 1)
    bridged, _ = scores_of(ring, torch.cat([draws(ring, 8_000), bridges]), tmp_path)
    assert bridged["high_quality"] == pytest.approx((1 - math.exp(-4.5)) / 2, abs=3e-3)
    assert bridged["modes_recovered"] == 8 and bridged["within_mode_spread"] == pytest.approx(1, abs=0.03)


def test_values_worked_out_by_hand(tmp_path):
    ring = Ring(modes=4, sigma=0.1)  # (1, 0), (0, 1), (-1, 0), (0, -1)
    points = torch.tensor([[1.1, 0.0], [0.9, 0.0], [1.0, 0.31], [0.0, 0.5]])
    scores, _ = scores_of(ring, points, tmp_path)
    assert scores["modes_recovered"] == 1, "a point at 3.1 deviations recovers nothing"
    assert scores["high_quality"] == 0.5
    # shares 3/4 and 1/4 of four modes: .75 ln 3 + .25 ln 1
    assert scores["reverse_kl"] == pytest.approx(0.75 * math.log(3), rel=1e-6)
    # of the two good points: variance (.02 in x + 0 in y) / 2; of the truth: .01 (1 - 4.5 e^-4.5 / (1 - e^-4.5))
    truth = 0.01 * (1 - 4.5 * math.exp(-4.5) / (1 - math.exp(-4.5)))
    assert scores["within_mode_spread"] == pytest.approx((0.01 / truth) ** 0.5, rel=0.01)


def test_a_generator_that_makes_one_point_outside_every_mode_has_no_spread(tmp_path):
    scores, _ = scores_of(Ring(), torch.zeros(100, 2), tmp_path)
    assert scores["modes_recovered"] == scores["high_quality"] == 0 and "within_mode_spread" not in scores


def test_the_picture_shows_fakes_in_blue_before_reals_in_grey(tmp_path):
    ring = Ring()
    _, pictures = scores_of(ring, draws(ring, 500, modes=[0]), tmp_path)
    picture = pictures["modes"]
    assert picture.shape == (3, 512, 512) and picture.dtype == torch.uint8
    blue = (picture[2].int() - picture[0].int() > 60).nonzero().float()
    right = 256 * (1 + 1 / (1.2 * ring.drawn().columns["images"][:500].abs().max()))
    torch.testing.assert_close(blue.mean(0), torch.tensor([256.0, float(right)]), rtol=0, atol=3)  # row, column
    assert scatter(torch.rand(5, 1)).shape == (3, 512, 512)


def test_data_without_known_modes_and_features_of_images_for_points_are_refused(tmp_path):
    images = noise_images(60)
    data = Data({"images": images}, "key", [])
    with pytest.raises(UserError, match="data=ring, grid or stacked_mnist"):
        Evaluator(ModeFinder(), {"modes": Modes()}, reals="all").prepare(TensorSet(images), CPU, tmp_path, data)
    ring = Ring(count=100).drawn()
    with pytest.raises(UserError, match="takes images, and these data are points: choose evaluation=modes"):
        Evaluator(Projection(), {"modes": Modes()}, reals="all").prepare(Decoded(ring), CPU, tmp_path, ring)
