"""The generator as it is shown: which latents, which statistics, which pixels."""

import copy

import pytest
import torch
from torch import nn

from sparring.evaluation.gallery import BLOCK, STANDING_BATCHES, Gallery
from sparring.games.generation import Generation
from sparring.losses import Hinge
from sparring.networks import dcgan, mlp


def a_game(classes: int = 0, family=dcgan, **options) -> Generation:
    """A generator whose running statistics are those of an odd past, larger than any image would give."""
    torch.manual_seed(0)
    generator = family.Generator(16, 1, latent_dim=8, width=8, num_classes=classes)
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        elif isinstance(module, nn.ConvTranspose2d):
            module.weight.data *= 5  # pictures of some contrast
    return Generation(generator, nn.Identity(), Hinge(), latent_dim=8, conditional=classes > 0, **options)


def a_gallery(game: Generation, batch_norm="standing", **options) -> Gallery:
    return Gallery(game, game.producer, batch_norm, **({"batch_size": 10} | options))


class Norm(nn.Module):
    """Images of one pixel: the batch norm of a latent."""

    def __init__(self, dims: int = 1):
        super().__init__()
        self.norm = nn.BatchNorm1d(dims)

    def forward(self, latents, labels=None):
        return self.norm(latents)[:, :, None, None]


def apart(a: torch.Tensor, b: torch.Tensor) -> int:
    """The largest difference of two sets of uint8 pixels."""
    return (a.int() - b.int()).abs().max().item()


@pytest.mark.parametrize("latent", ["normal", "uniform"])
@pytest.mark.parametrize(("start", "count"), [(0, 1), (0, 10), (3, 4), (7, 10), (10, 10), (19, 16), (34, 1)])
def test_a_sample_is_the_same_in_whatever_slice_it_is_asked_for(latent, start, count):
    gallery = a_gallery(a_game(latent=latent), "running")
    sequence = gallery.latents("grid", 35)
    assert sequence.shape == (35, 8) and sequence.unique(dim=0).shape[0] == 35
    assert torch.equal(gallery.latents("grid", count, start), sequence[start : start + count])


def test_a_sample_does_not_depend_on_the_batch_size():
    tens, sevens = (a_gallery(a_game(), "running", batch_size=size).latents("grid", 35) for size in (10, 7))
    assert torch.equal(tens, sevens)


def test_the_same_seed_shows_the_same_images_and_others_do_not():
    game = a_game()

    def images(seed, purpose="grid"):
        gallery = a_gallery(game, seed=seed)
        return gallery.show(gallery.latents(purpose, 12))

    first = images(3)
    torch.manual_seed(99)
    assert torch.equal(first, images(3))
    assert not torch.equal(first, images(4)) and not torch.equal(first, images(3, "evaluation"))


def test_images_are_uint8_of_the_whole_range():
    class Shown(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(()))

        def forward(self, latents, labels=None):
            return latents * self.factor

    game = Generation(Shown(), nn.Identity(), Hinge())
    values = torch.tensor([-7.0, -1, -0.5, 0, 0.5, 1, 7]).view(7, 1, 1, 1)
    shown = a_gallery(game, batch_size=3).show(values)
    assert shown.dtype == torch.uint8
    assert shown.flatten().tolist() == [0, 0, 64, 128, 191, 255, 255]
    pixels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    assert torch.equal(a_gallery(game).show(game.reals({"images": pixels})), pixels), "a real comes out as it went in"


def test_standing_statistics_are_the_mean_of_those_of_all_batches():
    game = Generation(Norm(), nn.Identity(), Hinge(), latent_dim=1)
    gallery = a_gallery(game)
    batches = gallery.latents("standing statistics", STANDING_BATCHES * BLOCK).view(STANDING_BATCHES, BLOCK)
    torch.testing.assert_close(gallery.producer.norm.running_mean[0], batches.mean(1).mean())
    torch.testing.assert_close(gallery.producer.norm.running_var[0], batches.var(1).mean())


@pytest.mark.parametrize("classes", [0, 3])
def test_with_standing_statistics_an_image_does_not_depend_on_its_neighbours(classes):
    gallery = a_gallery(a_game(classes), num_classes=classes)
    latents, labels = gallery.latents("grid", 6), torch.arange(6) % 3 if classes else None
    together = gallery.show(latents, labels)
    alone = [gallery.show(latents[i : i + 1], None if labels is None else labels[i : i + 1]) for i in range(6)]
    assert apart(together, torch.cat(alone)) <= 1
    assert together.unique(dim=0).shape[0] == 6 and together.float().std() > 5


def test_with_a_batchs_own_statistics_it_does():
    gallery = a_gallery(a_game(), "batch")
    latents = gallery.latents("grid", 6)
    assert apart(gallery.show(latents)[:2], gallery.show(latents[:2])) > 5


def test_running_statistics_are_those_of_training():
    game = a_game()
    gallery = a_gallery(game, "running")
    latents = gallery.latents("grid", 6)
    with torch.no_grad():
        expected = game.generator.eval()(latents)
    assert apart(gallery.show(latents), expected.mul(127.5).add(128).clamp(0, 255).to(torch.uint8)) <= 1
    assert apart(gallery.show(latents), a_gallery(game, "standing").show(latents)) > 5


def test_a_network_without_batch_norm_is_shown_alike_under_every_policy():
    game = a_game(family=mlp)
    galleries = [a_gallery(game, policy) for policy in ("running", "standing", "batch")]
    assert [gallery.batch_norm for gallery in galleries] == ["not in the network"] * 3
    first, *others = [gallery.show(gallery.latents("grid", 12)) for gallery in galleries]
    assert all(torch.equal(first, other) for other in others)
    assert a_gallery(a_game(), "standing").batch_norm == "standing"


@pytest.mark.parametrize("policy", ["running", "standing", "batch"])
@pytest.mark.parametrize("training", [True, False])
def test_the_games_own_producer_is_left_as_it_was(policy, training):
    game = a_game().train(training)
    before = copy.deepcopy(game.producer.state_dict())
    gallery = a_gallery(game, policy)
    gallery.show(gallery.latents("grid", 12))
    after = game.producer.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(module.training == training for module in game.producer.modules())
    assert all(parameter.requires_grad for parameter in game.producer.parameters())


def test_the_gallery_shows_the_producer_it_was_given_as_it_was_then():
    game, average = a_game(), a_game().producer
    for parameter in average.parameters():
        parameter.data.mul_(1.5)
    gallery = Gallery(game, average, "running", batch_size=10)
    latents = gallery.latents("grid", 4)
    shown = gallery.show(latents)
    assert apart(shown, a_gallery(game, "running").show(latents)) > 5
    for parameter in average.parameters():
        parameter.data.zero_()
    assert torch.equal(gallery.show(latents), shown)


def test_labels_choose_what_a_conditional_producer_shows():
    gallery = a_gallery(a_game(3), num_classes=3)
    latents = gallery.latents("grid", 1).expand(12, -1)  # more than a pass
    images = gallery.show(latents, torch.arange(12) % 3)
    assert apart(images[0], images[1]) > 5 and apart(images[:3], images[9:]) <= 1
