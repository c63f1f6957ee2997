"""WaveGAN: published sizes, lengths, and a discriminator that does not know the phase by heart."""

import pytest
import torch
from pairs_of_networks import count

from sparring.networks.layers import normalize_spectrally
from sparring.networks.wavegan import Discriminator, Generator, PhaseShuffle


def test_the_published_model_has_as_many_parameters():
    with torch.device("meta"):
        assert count(Generator(16_384)) == 19_065_345
        assert count(Discriminator(16_384)) == 17_427_969


@pytest.mark.parametrize("length", [0, 28, 4000, 32])
@pytest.mark.parametrize("network", [Generator, Discriminator])
def test_other_lengths_are_refused_by_naming_those_that_are_not(network, length):
    with pytest.raises(ValueError, match=f"length={length}: .*data=audio.*: 64, 256, .*16,384"):
        network(length)


def test_a_penalty_on_the_slope_of_a_normalised_discriminator_reaches_every_weight():
    torch.manual_seed(0)
    discriminator = normalize_spectrally(Discriminator(256, width=2))
    sounds = torch.randn(4, 1, 256, requires_grad=True)
    (slope,) = torch.autograd.grad(discriminator(sounds).sum(), sounds, create_graph=True)
    slope.square().sum().backward()
    weights = [p for name, p in discriminator.named_parameters() if "weight" in name]
    assert len(weights) == 3 and all(p.grad.abs().max() > 0 for p in weights)


def test_phases_are_moved_in_training_alone_by_as_much_as_is_said_and_mirrored_at_the_ends():
    x = torch.arange(10.0).expand(2, 3, -1)
    expected = {tuple(abs(i - s) if i - s <= 9 else 18 - (i - s) for i in range(10)) for s in (-2, -1, 0, 1, 2)}
    torch.manual_seed(0)
    shuffle = PhaseShuffle(2)
    found = set()
    for _ in range(60):
        moved = shuffle(x)
        assert moved.shape == x.shape and (moved == moved[0, 0]).all()
        found.add(tuple(moved[0, 0].int().tolist()))
    assert found == expected
    assert torch.equal(shuffle.eval()(x), x) and torch.equal(PhaseShuffle(0)(x), x)


def test_activations_are_moved_by_less_than_their_length():
    torch.manual_seed(0)
    assert Discriminator(256, width=1, phase_shuffle=63)(torch.randn(2, 1, 256)).isfinite().all()
    assert Discriminator(64, width=1, phase_shuffle=100)(torch.randn(2, 1, 64)).isfinite().all(), "none is moved"
    with pytest.raises(ValueError, match="phase_shuffle=64: samples, at most 63"):
        Discriminator(256, phase_shuffle=64)


def test_all_layers_but_the_first_are_shuffled():
    assert sum(isinstance(part, PhaseShuffle) for part in Discriminator(16_384, width=1).modules()) == 4
