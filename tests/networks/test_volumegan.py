"""Convolutions over three axes: the published sizes, every size that is promised, and what is refused."""

import pytest
import torch
from pairs_of_networks import count
from torch import nn

from sparring.networks import dcgan, volumegan
from sparring.networks.layers import channels_last


def test_at_64_voxels_it_has_the_layers_of_3d_gan():
    with torch.device("meta"):
        generator = volumegan.Generator(64, 64, latent_dim=200)
        discriminator = volumegan.Discriminator(64, 64)
    widths = [200, 512, 256, 128, 64, 1]  # Wu et al. 2016, section 3.1 and figure 2; all of 4x4x4
    convolutions = [64 * a * b for a, b in zip(widths, widths[1:], strict=False)]
    assert count(generator) == sum(convolutions) + 2 * sum(widths[1:5]) == 17_569_664
    # D mirrors them; its last convolution, of all that is left, is a linear layer with a bias
    assert count(discriminator) == sum(convolutions[1:]) + 512 * 64 + 1 + 2 * (512 + 256 + 128)


def test_frames_are_doubled_by_the_finest_stages_and_less_often_than_sides_where_there_are_few():
    def doubled(frames, size):
        first, kernels = volumegan.stages(frames, size)
        return first, [kernel["stride"] == 2 for kernel in kernels]

    assert doubled(32, 64) == ((2, 4, 4), [True] * 4)  # VGAN's
    assert doubled(12, 32) == ((3, 4, 4), [False, True, True])
    assert doubled(7, 24) == ((7, 6, 6), [False, False])


@pytest.mark.parametrize(
    ("frames", "size", "message"),
    [
        (30, 32, "frames=30: with image_size=32 .*the nearest: 28 or 32"),
        (64, 28, "frames=64: with image_size=28 .*the nearest: 28"),
        (16, 30, "image_size=30: .*the nearest: 28 or 32"),
        (None, 28, "frames=null: .*data=moving_digits"),
    ],
)
def test_a_size_that_no_pyramid_has_is_refused_with_the_nearest_that_do(frames, size, message):
    for network in (volumegan.Generator, volumegan.Discriminator):
        with pytest.raises(ValueError, match=message):
            network(frames, size)


def test_the_first_layer_is_a_transposed_convolution_and_the_order_of_memory_changes_nothing():
    torch.manual_seed(0)
    layer = dcgan.FromVoxel(6, 8, (2, 4, 4), bias=False)
    x = torch.randn(3, 6)
    expected = nn.functional.conv_transpose3d(x[:, :, None, None, None], layer.weight)
    torch.testing.assert_close(layer(x), expected)
    network = volumegan.Generator(8, 16, latent_dim=4, width=4).eval()
    latents = torch.randn(3, 4)
    before = network(latents)
    assert channels_last(network).layers[3].weight.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(network(latents), before)


def test_the_discriminator_tells_a_motion_from_its_reverse_which_frames_alone_do_not_show():
    torch.manual_seed(0)
    clips = torch.full((64, 1, 4, 8, 8), -1.0)
    rows, starts = torch.arange(64), torch.randint(0, 4, (64,))
    for t in range(4):
        clips[rows, 0, t, :, starts + t] = 1.0  # a bar that goes to the right
    network = volumegan.Discriminator(4, 8, width=4, norm="none")
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        loss = nn.functional.softplus(network(clips.flip(2))).mean() + nn.functional.softplus(-network(clips)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((network(clips) > 0) & (network(clips.flip(2)) < 0)).float().mean() > 0.95
