"""What generators from latents and their discriminators have in common, in every family."""

import pytest
import torch
from pairs_of_networks import a_pair, awake, check_slope

from sparring.networks import biggan, dcgan, mlp, points, r3gan, resnet, sagan, stylegan2, volumegan, wavegan

CLIPS = [(16, 32, 32), (12, 24, 24), (28, 28, 28), (1, 8, 8), (5, 10, 10), (8, 28, 28), (3, 16, 16)]
FAMILIES = {  # the family, the shape of an example, arguments of both networks
    **{
        f"{family.__name__.rpartition('.')[2]} {size}": (family, (1, size, size), {"image_size": size, "channels": 1})
        for family in (mlp, dcgan, resnet, sagan, biggan, stylegan2, r3gan)
        for size in (28, 32, 64)
    },
    **{f"volumegan {clip}": (volumegan, (1, *clip), {"frames": clip[0], "image_size": clip[1]}) for clip in CLIPS},
    "volumegan in colour": (volumegan, (3, 4, 8, 8), {"frames": 4, "image_size": 8, "channels": 3}),
    **{f"wavegan {length}": (wavegan, (1, length), {"length": length}) for length in (64, 1024, 16_384)},
    **{f"points {dims}": (points, (dims,), {"dims": dims}) for dims in (1, 2, 5)},
}
PYRAMIDS = [dcgan, resnet, sagan, biggan, stylegan2, r3gan]
every_family = pytest.mark.parametrize(("family", "shape", "arguments"), FAMILIES.values(), ids=FAMILIES)


def networks(family, arguments, classes, **options):
    torch.manual_seed(0)
    arguments = arguments | {"width": 4, "num_classes": classes}
    return family.Generator(latent_dim=7, **arguments), family.Discriminator(**arguments, **options)


@every_family
@pytest.mark.parametrize("classes", [0, 3])
def test_examples_and_logits_have_their_shapes_and_every_weight_gets_a_finite_gradient(
    family, shape, arguments, classes
):
    dropout = {"dropout": 0.0} if family is mlp else {}
    generator, discriminator = networks(family, arguments, classes, minibatch_stddev=2, **dropout)
    labels = torch.arange(4) % 3 if classes else None
    examples = generator(torch.randn(4, 7), labels)
    assert examples.shape == (4, *shape) and examples.std() > 0
    assert examples.abs().max() <= 1 or family in (stylegan2, r3gan, points)
    logits = discriminator(examples, labels)
    assert logits.shape == (4,) and discriminator.features(examples).shape == (4, discriminator.feature_dim)
    logits.sum().backward()
    for name, parameter in [*generator.named_parameters(), *discriminator.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert sum(parameter.grad.abs().sum() for parameter in generator.parameters()) > 0


@every_family
def test_labels_change_what_conditional_networks_say_and_only_theirs(family, shape, arguments):
    for classes in (0, 3):
        generator, discriminator = (awake(network).eval() for network in networks(family, arguments, classes))
        latents, labels = torch.randn(1, 7).double().expand(3, 7), torch.arange(3)
        examples = generator(latents, labels)
        assert len(examples.flatten(1).round(decimals=8).unique(dim=0)) == max(classes, 1)
        logits = discriminator(examples[:1].expand(3, *shape), labels)
        assert len(logits.round(decimals=8).unique()) == max(classes, 1)
        torch.testing.assert_close(generator(latents, labels.flip(0)), examples.flip(0))


@pytest.mark.parametrize("family", PYRAMIDS, ids=lambda family: family.__name__.rpartition(".")[2])
@pytest.mark.parametrize("part", ["Generator", "Discriminator"])
def test_a_size_that_no_pyramid_reaches_is_refused_with_the_nearest_that_are(family, part):
    with pytest.raises(ValueError, match=r"image_size=50.*48 or 56"):
        getattr(family, part)(50, width=8)


@pytest.mark.parametrize(
    ("family", "options"),
    [(family, {}) for family in PYRAMIDS[1:]] + [(family, {"spectral_norm": False}) for family in PYRAMIDS[1:4]],
)
@pytest.mark.parametrize("classes", [0, 3])
def test_a_gradient_penalty_can_be_differentiated_by_the_weights(family, classes, options):
    discriminator = awake(a_pair(family, 16, classes, 4, **options)[1]).eval()
    images, labels = torch.randn(3, 3, 16, 16).double().requires_grad_(), torch.arange(3)

    def penalty() -> torch.Tensor:
        logits = discriminator(images, labels)
        return torch.autograd.grad(logits.sum(), images, create_graph=True)[0].square().sum()

    check_slope(penalty, discriminator)
