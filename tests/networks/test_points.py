"""Perceptrons for points: shapes, steps, waves."""

import torch

from sparring.networks import points


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
