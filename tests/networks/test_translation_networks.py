"""The networks that answer to an image: pix2pix's, CycleGAN's, SRGAN's."""

from functools import partial
from inspect import isabstract, isclass

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pairs_of_networks import count
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, relu, softplus

import sparring.config.schema  # noqa: F401  the resolvers of the YAML files
from conftest import CONF
from sparring import losses
from sparring.networks import cyclegan, patch, srgan, unet
from sparring.networks.base_discriminator import Several
from sparring.networks.layers import normalize_spectrally, padded
from turns import float64 as float64

SAME_SIZE = {"unet": unet.Generator, "resblocks": partial(cyclegan.Generator, blocks=1)}
JUDGES = {"patch": partial(patch.Discriminator, layers=2), "srgan": srgan.Discriminator}
every_generator = pytest.mark.parametrize("network", SAME_SIZE.values(), ids=SAME_SIZE)
every_discriminator = pytest.mark.parametrize("network", JUDGES.values(), ids=JUDGES)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def kinds(network: nn.Module, *wanted: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, wanted)]


@pytest.mark.parametrize(
    ("make", "parameters"),
    [  # junyanz/pytorch-CycleGAN-and-pix2pix prints millions: 54.414, 41.829, 2.769, 2.765, 11.378
        (lambda: unet.Generator(256), 54_413_955),
        (lambda: unet.Generator(128), 41_828_995),
        (lambda: patch.Discriminator(256, 6), 2_768_705),
        (lambda: patch.Discriminator(256, 3, norm="instance"), 2_764_737),
        (lambda: cyclegan.Generator(256), 11_378_179),
        # ... and in its issue 1152, of gray images, 54.408, 29.238, 2.765, .662
        (lambda: unet.Generator(256, 1, 1), 54_407_809),
        (lambda: unet.Generator(64, 1, 1), 29_237_889),
        (lambda: patch.Discriminator(256, 2), 2_764_609),
        (lambda: patch.Discriminator(64, 2, layers=2), 662_337),
        (lambda: srgan.Generator(), 1_549_462),  # many reimplementations'
        (lambda: srgan.Discriminator(96), 23_565_505),  # 4,685,376 + 3,712 + 512 * 36 * 1024 + 1024 + 1025
    ],
)
def test_they_have_the_published_numbers_of_parameters(make, parameters):
    with torch.device("meta"):
        assert count(make()) == parameters


def strong(network: nn.Module) -> nn.Module:
    """With weights so large that nothing is lost in the tolerance of a comparison."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


@every_generator
@pytest.mark.parametrize("shape", [(28, 28), (32, 32), (64, 64), (5, 9), (213, 377)], ids=str)
def test_an_image_of_any_size_is_answered_by_one_of_that_size(network, shape):
    generator = strong(network(32, in_channels=2, channels=3, width=2))
    images = generator(torch.rand(1, 2, *shape) * 2 - 1)  # batch norm has to do with a single image, too
    assert images.shape == (1, 3, *shape) and images.abs().max() <= 1 and images.std() > 0


@every_generator
def test_a_size_that_does_not_halve_is_continued_by_its_mirror_image_and_cropped(network):
    generator, images = strong(network(32, width=2, norm="none")).eval(), torch.randn(1, 3, 29, 30)
    rows, columns = [*range(29), 27, 26, 25], [*range(30), 28, 27]
    torch.testing.assert_close(generator(images), generator(images[:, :, rows][..., columns])[..., :29, :30])


def test_an_image_too_small_to_be_mirrored_repeats_its_border():
    image = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    assert padded(image, 4).tolist() == [[[[1, 2, 3, 2], [4, 5, 6, 5], [4, 5, 6, 5], [4, 5, 6, 5]]]]


@pytest.mark.parametrize(("size", "halvings"), [(512, 8), (256, 8), (128, 7), (64, 6), (32, 5), (28, 4), (4, 2)])
def test_a_unet_halves_as_often_as_the_image_allows_and_drops_out_in_its_coarsest_stages(size, halvings):
    with torch.device("meta"):
        generator = unet.Generator(size)
    assert [c.out_channels for c in kinds(generator, nn.Conv2d)] == [64, 128, 256, *[512] * 5][:halvings]
    dropped = [bool(kinds(stage, nn.Dropout)) for stage in generator.up]
    wide = [kinds(stage, nn.ConvTranspose2d)[0].out_channels == 512 for stage in generator.up]
    assert dropped == [i == 0 or (i < 3 and w) for i, w in enumerate(wide)]


@pytest.mark.usefixtures("float64")
def test_a_unets_every_stage_sees_the_stage_of_its_size_on_the_way_down():
    generator = strong(unet.Generator(8, 1, 1, width=2, norm="none", dropout=0.0))
    down, up = kinds(generator.down, nn.Conv2d), kinds(generator, nn.ConvTranspose2d)
    x = torch.randn(2, 1, 8, 8)
    fine = conv2d(x, down[0].weight, down[0].bias, 2, 1)
    middle = conv2d(leaky_relu(fine, 0.2), down[1].weight, down[1].bias, 2, 1)
    coarse = conv2d(leaky_relu(middle, 0.2), down[2].weight, down[2].bias, 2, 1)
    y = torch.cat([middle, conv_transpose2d(relu(coarse), up[0].weight, up[0].bias, 2, 1)], 1)
    y = torch.cat([fine, conv_transpose2d(relu(y), up[1].weight, up[1].bias, 2, 1)], 1)
    torch.testing.assert_close(generator(x), conv_transpose2d(relu(y), up[2].weight, up[2].bias, 2, 1).tanh())


@pytest.mark.parametrize(("size", "blocks"), [(28, 6), (128, 6), (255, 6), (256, 9), (512, 9)])
def test_cyclegan_has_nine_blocks_from_256_pixels_on(size, blocks):
    with torch.device("meta"):
        assert len(kinds(cyclegan.Generator(size), cyclegan.ResidualBlock)) == blocks


def test_a_residual_block_adds_to_its_input_and_mirrors_at_the_border():
    block = cyclegan.ResidualBlock(3, "none")
    even = torch.randn(1, 3, 1, 1).expand(1, 3, 6, 6)
    added = block(even) - even  # with zeros around it the border would differ
    torch.testing.assert_close(added, added[..., :1, :1].expand_as(added))
    for parameter in block.layers[-2].parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(block(even), even)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("layers", "pixels"), [(0, 1), (1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_a_logit_depends_on_exactly_its_patch(layers, pixels):
    size = max(2 * pixels, 8)
    discriminator = patch.Discriminator(size, 1, width=1, norm="none", layers=layers)
    for parameter in discriminator.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)  # nothing cancels
    images = torch.rand(1, 1, size, size, requires_grad=True)
    logits = discriminator(images)
    side = int(len(logits) ** 0.5)
    logits[side // 2 * side + side // 2].backward()
    seen = images.grad[0, 0] != 0
    assert seen.any(0).sum() == seen.any(1).sum() == pixels and seen.sum() == pixels**2


@pytest.mark.parametrize(("size", "layers", "patches"), [(256, 3, 900), (32, 3, 4), (28, 3, 1), (24, 3, 1), (6, 0, 36)])
def test_patches_are_folded_into_the_batch_row_by_row_an_image_after_the_other(size, layers, patches):
    discriminator = patch.Discriminator(size, 2, width=1, norm="none", layers=layers)
    images = torch.randn(3, 2, size, size)
    logits = discriminator(images)
    assert logits.shape == (3 * patches,)
    torch.testing.assert_close(logits[patches : 2 * patches], discriminator(images[1:2]))
    images[2, :, -1, -1] += 1  # seen by the last patch, and if there are more, not by the first
    changed = discriminator(images) != logits
    assert changed[-1] and not changed[: 2 * patches].any() and (patches <= 4 or not changed[2 * patches])


def test_losses_of_every_kind_take_patches_as_they_are_and_pairs_are_of_the_same_place():
    discriminator = patch.Discriminator(28, 1, width=2, layers=2)
    real, fake = (discriminator(torch.randn(3, 1, 28, 28)) for _ in range(2))
    every = [kind for kind in vars(losses).values() if isclass(kind) and issubclass(kind, losses.Loss)]
    for loss in (kind() for kind in every if not isabstract(kind)):
        for values in (loss.discriminator(real, fake), loss.generator(fake, real)):
            assert values.shape == (75,) and values.isfinite().all()
    places = real.view(3, 5, 5) - fake.view(3, 5, 5)
    torch.testing.assert_close(losses.Relativistic().discriminator(real, fake).view(3, 5, 5), softplus(-places))


@every_discriminator
def test_the_verdict_is_read_from_the_features(network):
    discriminator = network(28, 1, width=2, num_classes=3, minibatch_stddev=2).eval()
    images, labels = torch.randn(4, 1, 28, 28), torch.tensor([0, 1, 2, 1])
    features = discriminator.features(images)
    assert features.shape[:2] == (4, discriminator.feature_dim)
    assert torch.equal(discriminator.verdict(features, labels), discriminator(images, labels))
    assert not torch.equal(discriminator.verdict(features, labels.flip(0)), discriminator(images, labels))
    pair = Several([discriminator, network(28, 1, width=2, num_classes=3).eval()])
    both = pair(images, labels)
    assert both.shape == (len(discriminator(images, labels)), 2)
    assert torch.equal(pair.verdict(pair.features(images), labels), both)


@pytest.mark.usefixtures("float64")
def test_a_label_adds_its_direction_of_the_mean_of_what_a_patch_is_judged_by():
    discriminator = patch.Discriminator(28, 1, width=2, num_classes=3, layers=2).eval()
    images, head = torch.randn(1, 1, 28, 28), discriminator.head
    kernel = head.convolution.weight + head.embedding.weight[2].view(1, -1, 1, 1) / 16
    expected = conv2d(discriminator.features(images), kernel, head.convolution.bias, padding=1).flatten()
    torch.testing.assert_close(discriminator(images, torch.tensor([2])), expected)


@every_discriminator
@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "none"])
def test_only_batch_norm_couples_the_examples_of_a_batch(network, norm):
    discriminator = network(32, 1, width=2, norm=norm)
    images = torch.rand(4, 1, 32, 32) * 2 - 1
    alone = discriminator(images[:2])
    assert torch.allclose(alone, discriminator(images)[: len(alone)], atol=1e-6) == (norm != "batch")


@pytest.mark.parametrize("size", [7, 28, 32, 96, 100])
def test_srgans_discriminator_judges_images_of_any_size(size):
    discriminator = srgan.Discriminator(size, 1, width=2)
    assert discriminator.features(torch.randn(2, 1, size, size)).shape == (2, 32)
    stages = [(c.out_channels, c.stride[0]) for c in kinds(discriminator, nn.Conv2d)]
    assert stages == [(width, stride) for width in (2, 4, 8, 16) for stride in (1, 2)]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("scale", [2, 4])
def test_srresnet_enlarges_so_that_what_moves_by_a_pixel_moves_by_scale_pixels(scale):
    generator, small = srgan.Generator(2, 3, width=2, scale=scale, blocks=1).eval(), torch.randn(1, 2, 31, 40)
    large = generator(small)
    assert large.shape == (1, 3, 31 * scale, 40 * scale)
    moved, inner = generator(small.roll(1, 3)), slice(14 * scale, -14 * scale)
    torch.testing.assert_close(moved[..., inner], large.roll(scale, 3)[..., inner])


def test_srresnets_blocks_add_to_their_input_and_all_of_them_together_too():
    generator, x = srgan.Generator(width=2, blocks=3), torch.randn(2, 3, 6, 6)
    for block in generator.blocks[:3]:
        nn.init.zeros_(block.layers[-1].weight)
    torch.testing.assert_close(generator.blocks(x[:, :2]), generator.blocks[3:](x[:, :2]))
    nn.init.zeros_(generator.blocks[-1].weight)
    torch.testing.assert_close(generator(x), generator.out(generator.enter(x)))


def test_srresnet_ends_in_a_convolution_that_nothing_bounds():
    generator = srgan.Generator(1, 1, width=2, blocks=1)
    last = kinds(generator, nn.Conv2d)[-1]
    before, small = [], torch.randn(1, 1, 8, 8)
    last.register_forward_hook(lambda module, inputs, out: before.append(out))
    nn.init.constant_(last.bias, 3.0)
    assert torch.equal(generator(small), before[0]) and before[0].max() > 1
    assert [p.numel() for m in kinds(generator, nn.PReLU) for p in m.parameters()] == [1] * 4


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("maker", [*SAME_SIZE, "srresnet"])
def test_a_backward_pass_gives_every_weight_a_finite_gradient(maker, judge, size):
    if maker == "srresnet":
        generator, seen = srgan.Generator(1, 1, width=2, scale=2, blocks=2), torch.randn(2, 1, size // 2, size // 2)
    else:
        generator, seen = SAME_SIZE[maker](size, 1, 1, width=2), torch.randn(2, 1, size, size)
    discriminator = normalize_spectrally(JUDGES[judge](size, 1, width=2))
    (-discriminator(generator(seen))).exp().mean().backward()
    for name, parameter in [*generator.named_parameters(), *discriminator.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert all(c.weight.grad.abs().sum() > 0 for c in kinds(generator, nn.Conv2d, nn.ConvTranspose2d))


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_pix2pixs_and_cyclegans_networks_start_with_the_papers_weights(norm):
    networks = [unet.Generator(16, width=16, norm=norm), cyclegan.Generator(16, width=16, norm=norm, blocks=1)]
    networks += [patch.Discriminator(32, width=16, norm=norm, num_classes=200)]
    for network in networks:
        for module in kinds(network, nn.Conv2d, nn.ConvTranspose2d):
            spread = 0.02 / (2 * module.weight.numel()) ** 0.5  # standard error of a standard deviation
            assert abs(module.weight.mean()) < 5 * 2**0.5 * spread and abs(module.weight.std() - 0.02) < 5 * spread
            assert module.bias is None or (module.bias == 0).all()
        norms = kinds(network, nn.BatchNorm2d)
        assert bool(norms) == (norm == "batch") and all((module.bias == 0).all() for module in norms)
        if norms:
            gains = torch.cat([module.weight.detach() for module in norms])
            assert abs(gains.mean() - 1) < 0.008 and abs(gains.std() - 0.02) < 0.006
    assert abs(networks[-1].head.embedding.weight.std() - 0.02) < 0.001


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: unet.Generator(28, depth=5), "depth=5: image_size=28 can be halved 2 to 4 times"),
        (lambda: unet.Generator(28, depth=1), "depth=1: image_size=28 can be halved 2 to 4 times"),
        (lambda: unet.Generator(3), "image_size=3: must be at least 4"),
        (lambda: patch.Discriminator(28, layers=4), "layers=4: leaves nothing of image_size=28; at most 3"),
        (lambda: patch.Discriminator(23), "layers=3: leaves nothing of image_size=23; at most 2"),
    ],
)
def test_what_can_not_be_built_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("file", ["unet", "resblocks", "srresnet", "patch", "srgan"])
def test_as_configured_they_are_the_published_networks(file):
    published = {"unet": 54_413_955, "resblocks": 11_378_179, "srresnet": 1_549_462, "srgan": 23_565_505}
    kind = "generator" if file in ("unet", "resblocks", "srresnet") else "discriminator"
    data = {"image_size": 96 if file == "srgan" else 256, "channels": 3}
    model = {"in_channels": 3, "width": 64, "scale": 4, "num_classes": 0, "packing": 1}
    model["network"] = OmegaConf.load(CONF / f"model/{kind}/{file}.yaml")
    model["dropout"] = 0.5
    if file in ("unet", "patch"):
        model["network"].norm = "batch"  # as pix2pix's
    with torch.device("meta"):
        network = instantiate(OmegaConf.create({"data": data, "model": model}).model.network)
    assert count(network) == published.get(file, 2_768_705 - 3 * 16 * 64)  # pix2pix's, without the condition
