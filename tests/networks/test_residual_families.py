"""The residual families: SNGAN's networks, SAGAN's, BigGAN's."""

from functools import partial

import pytest
import torch
from pairs_of_networks import count
from torch import nn
from torch.nn.utils import parametrize

from sparring.networks import biggan, resnet, sagan
from sparring.networks.layers import ConditionalBatchNorm, SelfAttention
from sparring.training import build
from turns import float64 as float64

FAMILIES = {"resnet": resnet, "sagan": sagan, "biggan": biggan}
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def a_pair(family, size=28, classes=0, width=2, **options) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    generator = family.Generator(size, 1, latent_dim=7, width=width, num_classes=classes)
    return generator, family.Discriminator(size, 1, width=width, num_classes=classes, **options)


def weighty(network: nn.Module) -> dict[str, nn.Module]:
    return {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)}


def raw(module: nn.Module) -> torch.Tensor:
    """The weight before its spectral normalisation, as a matrix."""
    normalized = parametrize.is_parametrized(module)
    return (module.parametrizations.weight.original if normalized else module.weight).detach().flatten(1)


@pytest.mark.parametrize(
    ("size", "classes", "of_generator", "of_discriminator"),
    [
        (32, 0, 4_276_739, 1_053_825),  # torch_mimicry/nets/sngan/sngan_32.py, wgan_gp/wgan_gp_32.py
        (32, 10, 4_304_387, 1_055_105),  # cgan_pd/cgan_pd_32.py with ten classes
        (48, 0, 4_878_083, 10_141_441),  # sngan/sngan_48.py
        (64, 0, 12_220_675, 10_141_441),  # sngan/sngan_64.py
        (128, 0, 32_150_787, 29_017_857),  # sngan/sngan_128.py
    ],
)
def test_resnet_has_the_parameters_of_mimicrys_networks(size, classes, of_generator, of_discriminator):
    with torch.device("meta"):
        generator = resnet.Generator(size, num_classes=classes)
        discriminator = resnet.Discriminator(size, num_classes=classes, spectral_norm=False)
    assert (count(generator), count(discriminator)) == (of_generator, of_discriminator)


@pytest.mark.parametrize(
    ("name", "of_generator", "of_discriminator"),
    [
        ("resnet", 4_304_387, 1_055_105),  # mimicry's cgan_pd/cgan_pd_32.py
        ("sagan", 4_386_308, 1_075_586),  # StudioGAN's logs/CIFAR10/SAGAN-train-2020_09_18_23_34_49.log
        ("biggan", 9_416_196, 2_415_170),  # StudioGAN's logs/CIFAR10/BigGAN-train-2021_01_15_14_48_48.log
    ],
)
def test_as_configured_they_are_the_published_networks_for_cifar_10(name, of_generator, of_discriminator, composed):
    cfg = composed(f"model={name}", "data=cifar10", "model.conditional=true")
    build.open_source(cfg)
    game = build.build_game(cfg)
    assert (count(game.generator), count(game.discriminator)) == (of_generator, of_discriminator)
    assert parametrize.is_parametrized(game.discriminator.head.linear)


def test_biggan_has_the_parameters_of_its_authors_network_for_imagenet_at_128_pixels(monkeypatch):
    for slow in ("biggan.normalize_spectrally", "biggan.initialize_orthogonally"):
        monkeypatch.setattr(f"sparring.networks.{slow}", lambda network: network)
    monkeypatch.setattr(sagan.Discriminator, "initialize_weights", staticmethod(lambda network: network))
    with torch.device("meta"):
        generator = biggan.Generator(128, latent_dim=120, num_classes=1000)
        discriminator = biggan.Discriminator(128, width=96, num_classes=1000, spectral_norm=False)
    assert (count(generator), count(discriminator)) == (70_433_988, 87_982_370)  # launch_BigGAN_bs256x8.sh


def test_too_few_latents_are_refused():
    with pytest.raises(ValueError, match="latent_dim=3: must be at least 4"):
        biggan.Generator(32, latent_dim=3)


@pytest.mark.parametrize(
    ("family", "size", "up", "down", "left"),
    [  # channels of G's stages and D's, times the width; pixels on which D's features are pooled
        (resnet, 28, [4, 4, 4], [2, 2, 2, 2], 7),
        (resnet, 32, [4, 4, 4, 4], [2, 2, 2, 2], 8),
        (resnet, 48, [8, 4, 2, 1], [1, 2, 4, 8, 16], 3),
        (resnet, 64, [16, 8, 4, 2, 1], [1, 2, 4, 8, 16], 2),
        (resnet, 128, [16, 16, 8, 4, 2, 1], [1, 2, 4, 8, 16, 16], 4),
        (sagan, 64, [16, 8, 4, 2, 1], [1, 2, 4, 8, 16], 4),
        (biggan, 128, [16, 16, 8, 4, 2, 1], [1, 2, 4, 8, 16, 16], 4),
    ],
)
def test_stages_are_equally_wide_for_small_images_and_a_pyramid_for_large_ones(family, size, up, down, left):
    generator, discriminator = a_pair(family, size)
    ascent, descent = generator.ascent, discriminator.descent
    assert [block.first.in_channels for block in ascent.blocks] + [ascent.out[2].in_channels] == [2 * c for c in up]
    assert [block.second.out_channels for block in descent.blocks] == [2 * c for c in down]
    assert descent.blocks(torch.zeros(1, 1, size, size)).shape[2:] == (left, left)


@pytest.mark.parametrize(
    ("family", "size", "place"),
    [(sagan, 28, 14), (sagan, 32, 16), (sagan, 64, 32), (sagan, 128, 32), (biggan, 32, 16), (biggan, 128, 64)],
)
def test_both_networks_attend_at_one_stage(family, size, place):
    generator, discriminator = a_pair(family, size, width=1)
    seen = []
    for network in (generator, discriminator):
        for module in network.modules():
            if isinstance(module, SelfAttention):
                module.register_forward_hook(lambda module, inputs, out: seen.append(out.shape[2:]))
    discriminator(generator(torch.randn(2, 7)))
    assert seen == [(place, place)] * 2


@pytest.mark.usefixtures("float64")
def test_self_attention_is_the_softmax_of_queries_and_keys_over_pooled_places():
    torch.manual_seed(0)
    attend, x = SelfAttention(8), torch.randn(2, 8, 4, 4)
    assert torch.equal(attend(x), x)  # it starts as nothing
    attend.gamma.data.fill_(0.3)
    query, key, value, out = (m.weight.detach()[:, :, 0, 0] for m in attend.children())
    expected = x.clone()
    for image, result in zip(x, expected, strict=True):
        cells = [image[:, i : i + 2, j : j + 2].flatten(1) for i in (0, 2) for j in (0, 2)]
        keys, values = ([(matrix @ cell).amax(1) for cell in cells] for matrix in (key, value))
        for i, j in torch.cartesian_prod(torch.arange(4), torch.arange(4)).tolist():
            scores = torch.stack([(query @ image[:, i, j]).dot(k) for k in keys]).exp()
            mean = sum(score / scores.sum() * v for score, v in zip(scores, values, strict=True))
            result[:, i, j] += 0.3 * (out @ mean)
    torch.testing.assert_close(attend(x), expected)


@pytest.mark.usefixtures("float64")
def test_conditional_batch_norm_takes_the_gains_of_each_label():
    norm, x, labels = ConditionalBatchNorm(2, partial(nn.Embedding, 3)), torch.randn(2, 2, 3, 3), torch.tensor([2, 0])
    norm.gain.weight.data = torch.tensor([[0.5, -1.0], [9.0, 9.0], [1.0, 2.0]])
    norm.bias.weight.data = torch.tensor([[3.0, 4.0], [9.0, 9.0], [5.0, 6.0]])
    spread = (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    standard = (x - x.mean((0, 2, 3), keepdim=True)) / spread
    gains, shifts = torch.tensor([[[2.0, 3.0], [1.5, 0.0]], [[5.0, 6.0], [3.0, 4.0]]])[..., None, None]
    torch.testing.assert_close(norm(x, labels), gains * standard + shifts)


@pytest.mark.usefixtures("float64")
def test_conditional_batch_norm_is_linear_in_a_condition_that_is_a_vector():
    norm, x = ConditionalBatchNorm(2, partial(nn.Linear, 2, bias=False)), torch.randn(2, 2, 3, 3)
    gains, shifts = (m.weight.T[:, :, None, None] for m in (norm.gain, norm.bias))
    torch.testing.assert_close(norm(x, torch.eye(2)), (1 + gains) * ConditionalBatchNorm(2)(x) + shifts)


@pytest.mark.parametrize("classes", [0, 3])
def test_each_of_biggans_blocks_is_told_a_chunk_of_its_own(classes):
    generator = a_pair(biggan, 32, classes)[0].eval()
    assert generator.chunks == [1, 2, 2, 2]
    stages: list[torch.Tensor] = []
    for part in [generator.ascent.linear, *generator.ascent.blocks]:
        part.register_forward_hook(lambda module, inputs, out: stages.append(out))
    latents, labels = torch.randn(1, 7), torch.tensor([2])
    generator(latents, labels)
    before = stages.copy()
    for chunk, places in enumerate([[0], [1, 2], [3, 4], [5, 6]]):
        stages.clear()
        generator(latents.index_add(1, torch.tensor(places), torch.ones(1, len(places))), labels)
        changed = [not torch.equal(now, then) for now, then in zip(stages, before, strict=True)]
        assert changed == [stage >= chunk for stage in range(4)]


@every_family
def test_after_some_passes_the_largest_singular_value_of_every_weight_is_one(family):
    generator, discriminator = a_pair(family, 8, classes=3, width=4)
    for parameter in [*generator.parameters(), *discriminator.parameters()]:
        nn.init.normal_(parameter)  # orthogonal matrices would pass unnormalised
    for _ in range(50):
        discriminator(generator(torch.randn(3, 7), torch.arange(3)), torch.arange(3))
    normalized = weighty(discriminator) | ({} if family is resnet else weighty(generator.ascent))
    assert {"head.linear", "head.embedding"} < normalized.keys()
    for name, module in normalized.items():
        assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02), name


def test_sngans_generator_and_biggans_embedding_are_not_normalized_nor_a_discriminator_that_is_not_to_be():
    networks = [resnet.Generator(8, width=2), biggan.Generator(8, width=2, num_classes=3).embedding]
    networks += [family.Discriminator(8, width=2, spectral_norm=False) for family in FAMILIES.values()]
    for network in networks:
        assert not any(parametrize.is_parametrized(module) for module in network.modules())


def test_resnet_starts_xavier_uniform_with_more_where_a_relu_halves():
    torch.manual_seed(0)
    generator, discriminator = resnet.Generator(32, width=8, num_classes=10), resnet.Discriminator(32, num_classes=10)
    for name, module in [*weighty(generator).items(), *weighty(discriminator).items()]:
        if ".norms." in name:
            continue
        weight = raw(module)
        places = 9 if getattr(module, "kernel_size", None) == (3, 3) else 1
        bound = (6 / (weight.shape[1] + weight.shape[0] * places)) ** 0.5
        bound *= 2**0.5 if name.endswith((".first", ".second")) else 1
        assert 0.95 * bound < weight.abs().max() <= 1.0001 * bound, name
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.2), name
    norms = [norm for block in generator.ascent.blocks for norm in block.norms]
    gains = torch.cat([norm.gain.weight.detach().flatten() for norm in norms])
    assert abs(gains.mean()) < 0.002 and abs(gains.std() - 0.02) < 0.002
    assert all((norm.bias.weight == 0).all() for norm in norms)


@pytest.mark.parametrize("family", [sagan, biggan], ids=["sagan", "biggan"])
def test_sagan_and_biggan_start_orthogonal_and_without_bias(family):
    for network in a_pair(family, 32, classes=3, width=4):
        for name, module in weighty(network).items():
            weight = raw(module)
            product = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
            torch.testing.assert_close(product, torch.eye(len(product)), atol=1e-5, rtol=0, msg=name)
            assert getattr(module, "bias", None) is None or (module.bias == 0).all()


def test_a_downward_blocks_shortcut_starts_behind_its_relu_but_the_first_block_sees_images_as_they_are():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 6)
    later, first = resnet.DownBlock(4, 4, 4, halve=False), resnet.DownBlock(4, 4, 4, halve=True, entry=True)
    torch.testing.assert_close(later(x), later(x.relu()))
    assert (first(x) - first(x.relu())).abs().max() > 0.01


def test_features_are_the_sum_over_all_places_or_their_mean():
    images = torch.randn(2, 1, 28, 28)
    summed, mean = (a_pair(resnet, pooling=pooling)[1].eval().features(images) for pooling in ("sum", "mean"))
    torch.testing.assert_close(summed, mean * 7 * 7)
