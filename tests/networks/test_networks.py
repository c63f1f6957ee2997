"""Sizes, shapes, labels and initialisation of every network family."""

import pytest
import torch
from pairs_of_networks import count
from torch import nn

from sparring.networks import dcgan, mlp
from sparring.networks.layers import halvings

SIZES = [28, 32, 64, 96, 128, 256]
every_family = pytest.mark.parametrize("family", [dcgan, mlp], ids=["dcgan", "mlp"])
every_norm = pytest.mark.parametrize("norm", ["batch", "instance", "layer", "none"])


def a_pair(family, image_size=28, num_classes=0, **options) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    options = {"image_size": image_size, "channels": 1, "width": 4, "num_classes": num_classes} | options
    dropout = {"dropout": 0.0} if family is mlp else {}
    return family.Generator(latent_dim=6, **options), family.Discriminator(**options, **dropout)


def test_dcgan_has_the_parameters_of_pytorchs_example():
    with torch.device("meta"):
        generator, discriminator = dcgan.Generator(64), dcgan.Discriminator(64)
    assert count(generator) == 3_576_704
    assert count(discriminator) == 2_765_568 + 1  # the example's last convolution has no bias


def test_a_larger_dcgan_has_more_stages_but_none_wider_than_eight_times_the_finest():
    with torch.device("meta"):
        networks = dcgan.Generator(256, width=16), dcgan.Discriminator(256, width=16)
    coarse_to_fine = [layer.out_channels for layer in networks[0].layers if isinstance(layer, nn.ConvTranspose2d)]
    fine_to_coarse = [layer.out_channels for layer in networks[1].layers if isinstance(layer, nn.Conv2d)]
    assert coarse_to_fine == [128, 128, 128, 64, 32, 16, 3]
    assert fine_to_coarse == [16, 32, 64, 128, 128, 128]


def test_the_mlps_hidden_layers_are_those_of_most_introductions():
    with torch.device("meta"):
        networks = mlp.Generator(28), mlp.Discriminator(28)
    hidden = networks[0].layers, networks[1].layers
    widths = [[m.out_features for m in layers if isinstance(m, nn.Linear)] for layers in hidden]
    assert widths == [[256, 512, 1024, 784], [1024, 512, 256]] and networks[1].head.linear.out_features == 1


@every_family
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [0, 10])
def test_images_and_logits_have_the_shapes_that_were_asked_for(family, size, channels, classes):
    with torch.device("meta"):
        generator = family.Generator(size, channels, latent_dim=20, width=16, num_classes=classes)
        discriminator = family.Discriminator(size, channels, width=16, num_classes=classes)
        labels = torch.zeros(3, dtype=torch.int64) if classes else None
        images = generator(torch.randn(3, 20), labels)
        assert images.shape == (3, channels, size, size)
        assert discriminator(images, labels).shape == (3,)


@every_norm
def test_every_normalization_trains(norm):
    generator, discriminator = a_pair(dcgan, 32, norm=norm)
    loss = discriminator(generator(torch.randn(4, 6))).mean()
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in generator.parameters())


@every_norm
def test_only_batch_norm_couples_the_examples_of_a_batch(norm):
    _, discriminator = a_pair(dcgan, 32, norm=norm)
    images = torch.rand(4, 1, 32, 32) * 2 - 1
    alone, beside_others = discriminator(images[:2]), discriminator(images)[:2]
    assert torch.allclose(alone, beside_others, atol=1e-6) == (norm != "batch")


def test_a_discriminator_never_normalizes_its_first_layer_nor_a_generator_its_last():
    generator, discriminator = a_pair(dcgan, 32)
    kinds = [type(module) for module in discriminator.layers[:3]]
    assert kinds == [nn.Conv2d, nn.LeakyReLU, nn.Conv2d]
    assert [type(module) for module in generator.layers[-2:]] == [nn.ConvTranspose2d, nn.Tanh]


@pytest.mark.parametrize("size", [0, 1, 4, 7, 9, 30, 100, 127])
def test_sizes_that_are_not_four_to_seven_times_a_power_of_two_are_refused(size):
    with pytest.raises(ValueError, match=f"image_size={size}: .* nearest: "):
        halvings(size)


@pytest.mark.parametrize(("size", "start"), [(8, (4, 1)), (28, (7, 2)), (32, (4, 3)), (96, (6, 4)), (160, (5, 5))])
def test_a_pyramid_starts_at_four_to_seven_pixels(size, start):
    assert halvings(size) == start


def test_a_conditional_discriminators_logit_is_the_unconditional_one_plus_the_labels_direction():
    _, discriminator = a_pair(dcgan, num_classes=3)
    discriminator.eval()
    images, labels = torch.randn(3, 1, 28, 28), torch.tensor([2, 0, 0])
    features = discriminator.layers(images)
    head = discriminator.head
    projection = torch.stack([features[i] @ head.embedding.weight[label] for i, label in enumerate(labels)])
    expected = features @ head.linear.weight[0] + head.linear.bias + projection
    torch.testing.assert_close(discriminator(images, labels), expected)


def test_dcgan_starts_with_the_papers_weights():
    torch.manual_seed(0)
    for network in (dcgan.Generator(32, 3, width=32), dcgan.Discriminator(32, 3, width=32, num_classes=20)):
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        others = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
        gains = torch.cat([norm.weight.detach() for norm in norms])
        assert abs(gains.mean() - 1) < 0.005 and abs(gains.std() - 0.02) < 0.004
        assert all((norm.bias == 0).all() for norm in norms)
        for module in others:
            spread = 0.02 / (2 * module.weight.numel()) ** 0.5  # standard error of a standard deviation
            assert abs(module.weight.mean()) < 5 * 2**0.5 * spread and abs(module.weight.std() - 0.02) < 5 * spread
            assert module.bias is None or (module.bias == 0).all()
    assert abs(network.head.embedding.weight.std() - 0.02) < 0.001


@every_family
def test_label_embeddings_start_as_long_as_a_one_hot_code(family):
    torch.manual_seed(0)
    embedding = family.Generator(28, latent_dim=100, width=4, num_classes=100).latents.embedding.weight
    assert embedding.shape == (100, 100) and abs(embedding.norm(dim=1).mean() - 1) < 0.05
