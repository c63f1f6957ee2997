"""What StyleGAN2's layers compute: modulation, equalized learning rates, styles, noise, architectures."""

import pytest
import torch
import torch.nn.functional as F
from pairs_of_networks import a_pair, awake
from torch import nn

from sparring.networks import stylegan2
from sparring.networks.resampling import Filter

every_architecture = pytest.mark.parametrize("architecture", ["residual", "skip", "orig"])


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("up", [True, False])
def test_modulation_gives_each_example_weights_of_its_own(demodulate, up):
    layer = awake(stylegan2.ModulatedConv(5, 7, 4, 3, demodulate, up))
    x, w = torch.randn(3, 5, 6, 6).double(), torch.randn(3, 4).double()
    style = w @ layer.affine.weight.T / 4**0.5 + layer.affine.bias
    expected = []
    for image, scales in zip(x, style, strict=True):
        weight = layer.weight / 45**0.5 * scales[:, None, None]
        if demodulate:
            weight = weight / weight.square().sum((1, 2, 3), keepdim=True).sqrt()
        if up:  # zeros between the pixels, convolution, then the filter
            spread = torch.zeros(1, 5, 15, 15).double()
            spread[..., 2:-2:2, 2:-2:2] = image
            expected.append(Filter("blur", gain=4).double()(F.conv2d(spread, weight.flip(2, 3))))
        else:
            expected.append(F.conv2d(image[None], weight, padding=1))
    torch.testing.assert_close(layer(x, w), torch.cat(expected), rtol=1e-7, atol=1e-7)


def test_a_styled_convolution_keeps_the_second_moment_whatever_the_style():
    torch.manual_seed(0)
    layer = stylegan2.StyledConv(64, 64, 16, 16)
    x, w = torch.randn(4, 64, 16, 16), torch.randn(4, 16) * torch.tensor([0.1, 1, 10, 100])[:, None]
    inner = layer(x, w)[..., 1:-1, 1:-1].square().mean((1, 2, 3))
    torch.testing.assert_close(inner, torch.full((4,), 1.04), rtol=0.15, atol=0)  # 2 (1 + .2^2) / 2


def test_equalized_layers_start_at_unit_variance_and_learn_through_a_gain():
    torch.manual_seed(0)
    generator = stylegan2.Generator(32, width=64, num_classes=10, mapping_layers=2)
    for name, module in generator.named_modules():
        if isinstance(module, stylegan2.EqualLinear | stylegan2.ModulatedConv):
            slow = 0.01 if "to_style.layers" in name else 1.0
            assert abs(module.weight.std() * slow - 1) < 0.1, name
        if isinstance(module, stylegan2.EqualLinear):
            assert (module.bias == (1.0 if "affine" in name else 0.0)).all(), name
        if isinstance(module, stylegan2.StyledConv):
            assert module.strength == 0 and (module.bias == 0).all()
    layer = stylegan2.EqualLinear(25, 3, lr=0.01)
    nn.init.ones_(layer.bias)
    x = torch.randn(2, 25)
    torch.testing.assert_close(layer(x), x @ layer.weight.T * 0.01 / 5 + 0.01)
    convolution = stylegan2.EqualConv(4, 3, 3)
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(convolution(x), F.conv2d(x, convolution.weight / 6, padding=1))


def test_styles_depend_on_the_direction_of_the_latents_alone_and_are_the_same_for_every_layer():
    generator, _ = a_pair(stylegan2)
    latents = torch.randn(3, 6)
    w = generator.mapping(latents)
    assert w.shape == (3, 8, 8)  # batch, two layers for each of four stages, width
    assert (w == w[:, :1]).all() and (w[0] - w[1]).abs().max() > 1e-3
    torch.testing.assert_close(generator.mapping(3 * latents), w)


def test_every_layers_style_shapes_the_image():
    generator = awake(a_pair(stylegan2)[0]).eval()
    w = generator.mapping(torch.randn(1, 6).double())
    images = [generator.synthesis(w)]
    for layer in range(8):
        other = w.clone()
        other[:, layer] += 1
        images.append(generator.synthesis(other))
    assert len(torch.cat(images).flatten(1).round(decimals=6).unique(dim=0)) == 9


def test_noise_is_new_in_training_and_the_same_for_everyone_when_evaluated():
    generator, _ = a_pair(stylegan2)
    latents = torch.randn(3, 6)
    torch.testing.assert_close(generator.train()(latents), generator.eval()(latents))  # starts at strength 0
    for layer in generator.synthesis.convolutions:
        nn.init.ones_(layer.strength)
    generator.train()
    first = generator(latents[:1].expand(2, -1))
    assert (first[0] - first[1]).abs().mean() > 0.01
    assert (generator(latents) - generator(latents)).abs().mean() > 0.01
    generator.eval()
    images = generator(latents)
    assert torch.equal(images, generator(latents))
    torch.testing.assert_close(torch.cat([generator(latents[2:]), generator(latents[:2])]), images[[2, 0, 1]])
    restored, _ = a_pair(stylegan2)
    for layer in restored.synthesis.convolutions:
        layer.noise.zero_()
    restored.load_state_dict(generator.state_dict())
    assert torch.equal(restored.eval()(latents), images)


@every_architecture
def test_a_discriminator_is_shown_the_image_as_its_architecture_says(architecture):
    _, discriminator = a_pair(stylegan2, 32, architecture=architecture)
    assert len(discriminator.from_image) == (4 if architecture == "skip" else 1)
    assert all((block.shortcut is not None) == (architecture == "residual") for block in discriminator.blocks)
    for block in discriminator.blocks:  # what passes them by is heard all the same
        for convolution in block.convolutions:
            nn.init.zeros_(convolution.weight)
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    gradient = torch.autograd.grad(discriminator(images).sum(), images)[0]
    assert (gradient == 0).all() == (architecture == "orig")


def test_a_residual_block_adds_a_halved_and_mixed_image_and_keeps_the_variance():
    block = stylegan2.DiscriminatorBlock(4, 6, residual=True)
    for convolution in block.convolutions:
        nn.init.zeros_(convolution.weight)
    x = torch.randn(2, 4, 8, 8)
    expected = F.conv2d(Filter("down")(x), block.shortcut.weight / 2) / 2**0.5
    torch.testing.assert_close(block(x), expected)


def test_autocast_changes_images_by_no_more_than_its_rounding():
    generator, discriminator = a_pair(stylegan2, width=16)
    generator.eval()
    latents = torch.randn(4, 6)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        images = generator(latents)
        logits = discriminator(images)
    assert images.dtype == logits.dtype == torch.float32
    exact = generator(latents)
    assert (images - exact).abs().mean() < 0.02 * exact.abs().mean()
