"""Perceptrons for points: shapes, steps, waves."""

import pytest
import torch

from sparring.networks import points


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("dims", [1, 2, 5])
def test_points_go_in_and_out(dims, classes):
    labels = torch.arange(6) % 3 if classes else None
    generator = points.Generator(dims, latent_dim=4, width=16, num_classes=classes, sharpness=5.0)
    discriminator = points.Discriminator(dims, width=16, num_classes=classes, minibatch_stddev=3, octaves=2)
    made = generator(torch.randn(6, 4), labels)
    logits = discriminator(made, labels)
    assert made.shape == (6, dims) and logits.shape == (6,)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())


def test_the_output_has_the_scale_of_the_data():
    torch.manual_seed(0)
    one = points.Generator(width=8)
    torch.manual_seed(0)
    four = points.Generator(width=8, scale=4.0)
    latents = torch.randn(5, 2)
    torch.testing.assert_close(four(latents), 4 * one(latents))


def test_half_of_the_last_hidden_units_are_steps():
    x = torch.tensor([[0.3, -2.0, 1.0, -1.0]])
    expected = torch.tensor([[0.3 * 50, -2.0 * 50]]).tanh()
    torch.testing.assert_close(points.Sharp(50.0)(x), torch.cat([expected, torch.tensor([[1.0, -0.2]])], 1))
    layers = points.Generator(width=8, depth=3, sharpness=50.0).layers
    assert [type(layer).__name__ for layer in layers] == ["Linear", "LeakyReLU"] * 2 + ["Linear", "Sharp", "Linear"]


def test_waves_are_sines_and_cosines_an_octave_apart():
    x = torch.tensor([[0.1, -0.7]])
    angles = torch.tensor([0.1, 0.2, 0.4, -0.7, -1.4, -2.8]) * 3
    torch.testing.assert_close(points.Waves(3, 3.0)(x), torch.cat([x[0], angles.sin(), angles.cos()])[None])
