"""The running average against its closed form."""

import pytest
import torch
from torch import nn

from sparring.training.ema import EMA
from sparring.training.schedules import Linear


def a_network(value: float) -> nn.Module:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)
    return network


def update(ema: EMA, network: nn.Module, kimg: float, step_kimg: float) -> None:
    """Update as the engine does."""
    ema.update(network, 1 - ema.decay(kimg, step_kimg))


def values(ema: EMA) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in ema.network.parameters()])


def test_the_average_is_the_weighted_sum_of_all_weights_so_far():
    ema = EMA(a_network(5.0), half_life_kimg=2.0)
    seen = [1.0, -3.0, 0.5, 8.0]
    for i, value in enumerate(seen):
        update(ema, a_network(value), kimg=i + 1, step_kimg=1)
    keep = 0.5**0.5  # a step is half a half-life
    expected = keep**4 * 5 + (1 - keep) * sum(keep ** (3 - i) * value for i, value in enumerate(seen))
    torch.testing.assert_close(values(ema), torch.full_like(values(ema), expected), rtol=1e-12, atol=0)


@pytest.mark.parametrize("steps", [1, 8, 100])
def test_after_a_half_life_half_of_the_average_is_new_whatever_the_batch(steps):
    ema, new = EMA(a_network(1.0), half_life_kimg=10.0), a_network(0.0)
    for i in range(steps):
        update(ema, new, kimg=(i + 1) * 10 / steps, step_kimg=10 / steps)
    torch.testing.assert_close(values(ema), torch.full_like(values(ema), 0.5))


def test_the_ramp_bounds_the_half_life_by_a_share_of_the_images_seen():
    ema = EMA(a_network(0.0), half_life_kimg=500, rampup=0.05)
    assert ema.decay(kimg=100, step_kimg=5) == 0.5  # the half-life is 5 kimg here
    assert ema.decay(kimg=1000, step_kimg=50) == 0.5
    assert ema.decay(kimg=10_000, step_kimg=500) == 0.5  # 0.05 * 10,000 = 500: the ramp is over
    assert ema.decay(kimg=99_999, step_kimg=500) == 0.5
    assert ema.decay(kimg=0.064, step_kimg=0.064) == pytest.approx(2**-20)  # the start is forgotten at once


def test_without_a_ramp_the_half_life_is_the_same_from_the_start():
    ema = EMA(a_network(0.0), half_life_kimg=500)
    assert ema.decay(kimg=0.064, step_kimg=500) == ema.decay(kimg=9999, step_kimg=500) == 0.5


def test_a_half_life_of_zero_copies_the_network():
    ema, network = EMA(a_network(1.0), half_life_kimg=0), nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()
    update(ema, network, kimg=1, step_kimg=1)
    for name, value in network.state_dict().items():
        assert torch.equal(ema.network.state_dict()[name], value), name


def test_buffers_are_copied_not_averaged():
    network = a_network(1.0)
    ema = EMA(network, half_life_kimg=1000)
    network(torch.randn(7, 2).double())
    network(torch.randn(7, 2).double())
    update(ema, network, kimg=1, step_kimg=1)
    norm = ema.network[1]
    assert torch.equal(norm.running_mean, network[1].running_mean) and norm.running_mean.abs().sum() > 0
    assert torch.equal(norm.running_var, network[1].running_var)
    assert norm.num_batches_tracked == 2 and norm.num_batches_tracked.dtype == torch.int64


def test_networks_without_buffers_are_averaged_too():
    old, new = nn.Linear(2, 2), nn.Linear(2, 2)
    ema = EMA(old, half_life_kimg=1)
    update(ema, new, kimg=1, step_kimg=1)
    torch.testing.assert_close(ema.network.weight, (old.weight + new.weight) / 2)


def test_the_average_is_a_copy_that_is_never_trained_and_leaves_the_network_alone():
    network = a_network(1.0)
    ema = EMA(network, half_life_kimg=1)
    update(ema, a_network(3.0), kimg=1, step_kimg=1)
    assert not any(parameter.requires_grad for parameter in ema.parameters())
    assert not any(module.training for module in ema.network.modules())
    assert all(parameter.requires_grad and (parameter == 1).all() for parameter in network.parameters())
    assert network.training


def test_a_half_life_that_rises_from_zero_copies_the_network_at_first_and_then_remembers():
    ema = EMA(a_network(5.0), half_life_kimg=4.0, schedule=Linear(8, initial=0.0, final=1.0))
    assert ema.decay(0.0, 1.0) == 0 and ema.decay(4.0, 1.0) == 0.5**0.5 and ema.decay(100.0, 1.0) == 0.5**0.25
    update(ema, a_network(1.0), kimg=0.0, step_kimg=1.0)
    assert (values(ema) == 1).all()
