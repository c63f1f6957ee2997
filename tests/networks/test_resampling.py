"""Doubling and halving images: the filter, its gradients, and how wide the stages are."""

import pytest
import torch

from sparring.networks.resampling import Filter, pyramid


def test_larger_images_get_more_stages_that_halve_in_width_above_a_size():
    assert pyramid(256, 768, 32) == [(4, 768), (8, 768), (16, 768), (32, 768), (64, 384), (128, 192), (256, 96)]
    assert [channels for _, channels in pyramid(96, 512, 32)] == [512, 512, 512, 256, 128]
    assert pyramid(28, 8, 32) == [(7, 8), (14, 8), (28, 8)]


def test_the_filter_spreads_a_point_as_one_three_three_one():
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    point = torch.zeros(1, 1, 6, 6)
    point[0, 0, 2, 3] = 64.0
    up = Filter("up")(point)
    assert up.shape == (1, 1, 12, 12)
    assert torch.equal(up[0, 0, 3:7, 5:9], 4 * torch.outer(taps, taps)) and up.sum() == 4 * 64
    assert torch.equal(Filter("blur", padding=3)(point)[0, 0, 2:6, 3:7], torch.outer(taps, taps))
    ramp = torch.arange(6.0).expand(1, 1, 6, 6).contiguous()
    assert torch.equal(Filter("down")(ramp)[0, 0, 1], torch.tensor([(0 * 3 + 3 + 2) / 8, 2.5, (3 + 12 + 15) / 8]))


@pytest.mark.parametrize("kind", ["up", "down", "blur"])
def test_resampling_keeps_a_constant_image_away_from_its_edges(kind):
    images = torch.full((1, 2, 16, 16), 0.7)
    torch.testing.assert_close(Filter(kind)(images)[..., 2:-2, 2:-2].mean(), torch.tensor(0.7))
    assert Filter(kind)(images)[..., 2:-2, 2:-2].std() < 1e-6


@pytest.mark.parametrize("kind", ["up", "down", "blur"])
def test_resampling_has_the_gradients_of_its_values_twice(kind):
    resample = Filter(kind, gain=2.0).double()
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(resample, x) and torch.autograd.gradgradcheck(resample, x)
