"""StyleGAN2 and R3GAN: the published sizes and starts, what their layers compute, and second derivatives.

Parameter counts were read off the published classes, built on a CPU: NVlabs/stylegan2-ada-pytorch, training/networks.py
with the settings of its train.py (cifar, auto, paper256, paper1024), and brownvc/R3GAN, R3GAN/Networks.py.
"""

import pytest
import torch
import torch.nn.functional as F
from pairs_of_networks import a_pair, awake, check_slope, count

from sparring.networks import r3gan, stylegan2
from sparring.networks.resampling import Filter

every_family = pytest.mark.parametrize("family", [stylegan2, r3gan], ids=["stylegan2", "r3gan"])
IMAGENET = {"width": 1536, "group_size": 32, "halve_above": 64}


@pytest.mark.parametrize(
    ("size", "classes", "generator", "discriminator", "parameters"),
    [
        (32, 0, {"mapping_layers": 2}, {"architecture": "orig"}, (19_947_539, 20_720_641)),  # cifar
        (32, 10, {"mapping_layers": 2}, {"architecture": "orig"}, (20_215_315, 23_089_664)),
        (64, 0, {"mapping_layers": 2}, {"architecture": "skip"}, (22_243_608, 22_498_049)),  # auto, its D as skip
        (256, 0, {}, {}, (24_767_458, 24_001_089)),  # paper256
        (256, 10, {}, {}, (25_035_234, 26_370_112)),
        (1024, 0, {"halve_above": 64}, {"halve_above": 64}, (30_370_060, 29_012_513)),  # paper1024
    ],
)
def test_stylegan2_has_the_published_codes_parameters(size, classes, generator, discriminator, parameters):
    with torch.device("meta"):
        networks = (
            stylegan2.Generator(size, num_classes=classes, **generator),
            stylegan2.Discriminator(size, num_classes=classes, **discriminator),
        )
    assert tuple(count(network) for network in networks) == parameters


@pytest.mark.parametrize(
    ("size", "classes", "options", "parameters"),
    [
        (32, 0, {}, (20_732_160, 20_683_776)),  # CIFAR10
        (32, 10, {}, (20_781_952, 21_280_512)),
        (64, 0, {}, (22_429_824, 22_381_440)),  # FFHQ-64
        (256, 0, {}, (23_057_952, 23_009_568)),  # FFHQ-256
        (32, 10, IMAGENET, (82_850_944, 85_028_352)),  # ImageNet-32, with 10 of its labels
        (64, 10, IMAGENET, (103_507_072, 105_684_480)),
    ],
)
def test_r3gan_has_the_published_codes_parameters(size, classes, options, parameters):
    with torch.device("meta"):
        networks = [part(size, num_classes=classes, **options) for part in (r3gan.Generator, r3gan.Discriminator)]
    assert tuple(count(network) for network in networks) == parameters


def test_options_that_fit_no_network_are_refused():
    with pytest.raises(ValueError, match=r"group_size=16: must divide twice the width of every stage, here 2 \* 100"):
        r3gan.Generator(32, width=100)
    with pytest.raises(ValueError, match="halve_above=2: must be at least 4"):
        stylegan2.Discriminator(32, width=8, halve_above=2)


@every_family
@pytest.mark.parametrize("classes", [0, 3])
def test_a_discriminators_logits_are_its_heads_reading_of_its_features(family, classes):
    _, discriminator = a_pair(family, classes=classes)
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    features = discriminator.features(images)
    assert features.shape == (4, discriminator.feature_dim) == (4, 8)
    values = F.linear(features, discriminator.head.linear.weight)
    if classes and family is stylegan2:  # StyleGAN2-ADA: equalized, with the mapped label, over sqrt(8)
        label = discriminator.head.mapping(None, labels)
        expected = (values / 8**0.5 * label).sum(1) / 8**0.5
    elif classes:
        expected = (values * discriminator.head.embedding.weight[labels]).sum(1)
    else:
        expected = values[:, 0] / (8**0.5 if family is stylegan2 else 1)
    torch.testing.assert_close(discriminator(images, labels), expected)


@every_family
@pytest.mark.parametrize("group", [0, 2])
def test_only_the_minibatch_deviation_couples_the_examples_of_a_batch(family, group):
    discriminator = awake(a_pair(family, minibatch_stddev=group)[1])
    images = torch.randn(4, 3, 32, 32).double()
    alone = torch.cat([discriminator(image[None]) for image in images])
    assert torch.allclose(discriminator(images), alone) == (group == 0)


# R3GAN


def test_r3gans_residual_blocks_start_as_the_identity():
    torch.manual_seed(0)
    for network in a_pair(r3gan, 32):
        blocks = [module for module in network.modules() if isinstance(module, r3gan.ResidualBlock)]
        assert len(blocks) == 8  # two for each of 4, 8, 16 and 32 pixels
        x = torch.randn(2, 8, 4, 4)
        assert all(torch.equal(block(x), x) for block in blocks)


def test_r3gan_starts_with_the_published_codes_weights():
    torch.manual_seed(0)
    options = {"width": 64, "num_classes": 50}
    generator, discriminator = r3gan.Generator(32, **options), r3gan.Discriminator(32, **options)
    gain = (2 / 1.04) ** 0.5 * 8**-0.25  # eight blocks
    for block in [m for m in [*generator.modules(), *discriminator.modules()] if isinstance(m, r3gan.ResidualBlock)]:
        first, middle, last = block.layers[0], block.layers[2], block.layers[4]
        assert middle.groups == 8 and middle.weight.shape == (128, 16, 3, 3)
        assert abs(first.weight.std() / (gain / 8) - 1) < 0.05 and abs(middle.weight.std() / (gain / 12) - 1) < 0.05
        assert (last.weight == 0).all() and (first.bias == 0).all() and (middle.bias == 0).all() and last.bias is None
    for weight, spread in [
        (generator.basis, 1),
        (generator.linear.weight, 128**-0.5),  # latents and label
        (generator.embedding.weight, 50**-0.5),
        (generator.layers[-1].weight, 1 / 8),
        (discriminator.layers[0].weight, 3**-0.5),
        (discriminator.basis, 1 / 4),  # of 4x4
        (discriminator.head.linear.weight, 1 / 8),
        (discriminator.head.embedding.weight, 50**-0.5 / 8),
    ]:
        assert abs(weight.std() / spread - 1) < 4 / weight.numel() ** 0.5


def test_r3gans_generator_starts_as_a_basis_scaled_by_the_latents():
    generator, _ = a_pair(r3gan)
    latents = torch.randn(3, 6)
    basis = generator.basis * generator.linear(latents)[:, :, None, None]
    resized = Filter("up")(Filter("up")(Filter("up")(basis)))
    torch.testing.assert_close(generator(latents), generator.layers[-1](resized))
    torch.testing.assert_close(generator(-2 * latents), -2 * generator(latents))  # linear while blocks are the identity


# Second derivatives


def test_path_lengths_can_be_differentiated_by_the_weights():
    generator = awake(a_pair(stylegan2, 16)[0]).eval()
    latents, image = torch.randn(2, 6).double(), torch.randn(2, 3, 16, 16).double()

    def length() -> torch.Tensor:
        w = generator.mapping(latents)
        gradient = torch.autograd.grad((generator.synthesis(w) * image).sum(), w, create_graph=True)[0]
        return gradient.square().sum(2).mean(1).sqrt().mean()

    check_slope(length, generator)
