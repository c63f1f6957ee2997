"""Points from known modes: where they lie, that a real GAN trains on them, and what is refused."""

import pytest
import torch

from sparring.data import cache
from sparring.data.mixture import Dirac, Grid, Ring


def test_a_ring_has_eight_modes_at_distance_one_from_the_middle_and_from_their_neighbours_alike():
    data = Ring().drawn()
    points, labels = data.columns["images"], data.columns["labels"]
    assert points.shape == (100_000, 2) and points.dtype == torch.float32 and labels.unique().tolist() == list(range(8))
    means = torch.stack([points[labels == mode].mean(0) for mode in range(8)])
    torch.testing.assert_close(means.norm(dim=1), torch.ones(8), rtol=0, atol=1e-3)
    apart = (means - means.roll(1, 0)).norm(dim=1)
    torch.testing.assert_close(apart, torch.full((8,), 0.76537), rtol=0, atol=2e-3)  # 2 sin(pi/8)


def test_a_grid_has_twenty_five_modes_two_apart_around_zero():
    data = Grid().drawn()
    points, labels = data.columns["images"], data.columns["labels"]
    means = torch.stack([points[labels == mode].mean(0) for mode in range(25)])
    assert sorted(map(tuple, means.round().tolist())) == [(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)]


@pytest.mark.parametrize(("source", "sigma"), [(Ring(), 0.01), (Grid(), 0.05), (Ring(sigma=0.1, count=20_000), 0.1)])
def test_points_lie_around_their_mode_with_the_deviation_that_was_asked_for(source, sigma):
    data = source.drawn()
    away = data.columns["images"] - source.centres[data.columns["labels"]]
    torch.testing.assert_close(away.std(0), torch.full((2,), sigma), rtol=0.02, atol=0)
    assert data.columns["labels"].bincount().unique().numel() <= 2, "modes are equally frequent"


def test_the_points_are_the_same_for_everyone_and_their_key_tells_other_ones_apart(tmp_path):
    first, again = cache.load(Ring(), tmp_path), cache.load(Ring(), tmp_path)
    assert torch.equal(first.columns["images"], again.columns["images"]) and first.key == again.key
    assert len({data.drawn().key for data in (Ring(), Ring(modes=7), Ring(sigma=0.02), Grid(), Dirac())}) == 5
    assert not list(tmp_path.iterdir()), "nothing has to be decoded"


def test_all_of_diracs_data_lie_at_zero_of_one_dimension():
    assert torch.equal(Dirac(5).drawn().columns["images"], torch.zeros(5, 1))


def test_fewer_points_than_modes_are_refused():
    with pytest.raises(ValueError, match="count=3: must be at least 8"):
        Ring(count=3)
