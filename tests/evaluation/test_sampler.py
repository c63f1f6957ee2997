"""Samples of a generator: which latents, which batch-norm statistics, which pixels."""

import copy

import pytest
import torch
from torch import nn

from sparring.evaluation.sampler import BLOCK, STANDING_BATCHES, Sampler
from sparring.games.generation import Generation
from sparring.losses import Hinge
from sparring.networks import dcgan, mlp


def a_game(classes: int = 0, family=dcgan, **options) -> Generation:
    """A generator whose running statistics differ from those of its samples."""
    torch.manual_seed(0)
    generator = family.Generator(16, 1, latent_dim=8, width=8, num_classes=classes)
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        elif isinstance(module, nn.ConvTranspose2d):
            module.weight.data *= 5  # pictures of some contrast
    return Generation(generator, nn.Identity(), Hinge(), latent_dim=8, conditional=classes > 0, **options)


def a_sampler(game: Generation, batch_norm="standing", **options) -> Sampler:
    return Sampler(game, game.producer, batch_norm, **({"batch_size": 10} | options))


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
def test_latents_are_the_same_in_every_slice_and_for_every_batch_size(latent):
    sampler = a_sampler(a_game(latent=latent), "running")
    sequence = sampler.latents("grid", 150)
    assert sequence.shape == (150, 8) and sequence.unique(dim=0).shape[0] == 150
    for start, count in ((0, 1), (0, 10), (3, 64), (60, 10), (64, 64), (127, 2), (149, 1)):
        assert torch.equal(sampler.latents("grid", count, start), sequence[start : start + count])
    assert torch.equal(a_sampler(a_game(latent=latent), "running", batch_size=7).latents("grid", 150), sequence)


def test_the_same_seed_shows_the_same_images_and_others_do_not():
    game = a_game()

    def images(seed, purpose="grid"):
        sampler = a_sampler(game, seed=seed)
        return sampler.show(sampler.latents(purpose, 12))

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
    shown = a_sampler(game, batch_size=3).show(values)
    assert shown.dtype == torch.uint8
    assert shown.flatten().tolist() == [0, 0, 64, 128, 191, 255, 255]
    pixels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    assert torch.equal(a_sampler(game).show(game.reals({"images": pixels})), pixels), "a real comes out as it went in"


def test_standing_statistics_are_the_mean_of_those_of_all_batches():
    game = Generation(Norm(), nn.Identity(), Hinge(), latent_dim=1)
    sampler = a_sampler(game)
    batches = sampler.latents("standing statistics", STANDING_BATCHES * BLOCK).view(STANDING_BATCHES, BLOCK)
    torch.testing.assert_close(sampler.producer.norm.running_mean[0], batches.mean(1).mean())
    torch.testing.assert_close(sampler.producer.norm.running_var[0], batches.var(1).mean())


@pytest.mark.parametrize("classes", [0, 3])
def test_with_standing_statistics_an_image_does_not_depend_on_its_neighbours(classes):
    sampler = a_sampler(a_game(classes), num_classes=classes)
    latents, labels = sampler.latents("grid", 6), torch.arange(6) % 3 if classes else None
    together = sampler.show(latents, labels)
    alone = [sampler.show(latents[i : i + 1], None if labels is None else labels[i : i + 1]) for i in range(6)]
    assert apart(together, torch.cat(alone)) <= 1
    assert together.unique(dim=0).shape[0] == 6 and together.float().std() > 5


def test_with_the_batchs_own_statistics_an_image_depends_on_its_neighbours():
    sampler = a_sampler(a_game(), "batch")
    latents = sampler.latents("grid", 6)
    assert apart(sampler.show(latents)[:2], sampler.show(latents[:2])) > 5


def test_running_statistics_are_those_of_training():
    game = a_game()
    sampler = a_sampler(game, "running")
    latents = sampler.latents("grid", 6)
    with torch.no_grad():
        expected = game.generator.eval()(latents)
    assert apart(sampler.show(latents), expected.mul(127.5).add(128).clamp(0, 255).to(torch.uint8)) <= 1
    assert apart(sampler.show(latents), a_sampler(game, "standing").show(latents)) > 5


def test_a_network_without_batch_norm_is_shown_alike_under_every_policy():
    game = a_game(family=mlp)
    samplers = [a_sampler(game, policy) for policy in ("running", "standing", "batch")]
    assert [sampler.batch_norm for sampler in samplers] == ["not in the network"] * 3
    first, *others = [sampler.show(sampler.latents("grid", 12)) for sampler in samplers]
    assert all(torch.equal(first, other) for other in others)
    assert a_sampler(a_game(), "standing").batch_norm == "standing"


@pytest.mark.parametrize("policy", ["running", "standing", "batch"])
@pytest.mark.parametrize("training", [True, False])
def test_the_games_own_producer_is_left_as_it_was(policy, training):
    game = a_game().train(training)
    before = copy.deepcopy(game.producer.state_dict())
    sampler = a_sampler(game, policy)
    sampler.show(sampler.latents("grid", 12))
    after = game.producer.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(module.training == training for module in game.producer.modules())
    assert all(parameter.requires_grad for parameter in game.producer.parameters())


def test_a_sampler_keeps_a_copy_of_the_weights_it_was_given():
    game, average = a_game(), a_game().producer
    for parameter in average.parameters():
        parameter.data.mul_(1.5)
    sampler = Sampler(game, average, "running", batch_size=10)
    latents = sampler.latents("grid", 4)
    shown = sampler.show(latents)
    assert apart(shown, a_sampler(game, "running").show(latents)) > 5
    for parameter in average.parameters():
        parameter.data.zero_()
    assert torch.equal(sampler.show(latents), shown)


def test_labels_choose_what_a_conditional_producer_shows():
    sampler = a_sampler(a_game(3), num_classes=3)
    latents = sampler.latents("grid", 1).expand(12, -1)  # more than a pass
    images = sampler.show(latents, torch.arange(12) % 3)
    assert apart(images[0], images[1]) > 5 and apart(images[:3], images[9:]) <= 1
