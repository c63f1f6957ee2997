"""Turns on few examples, against discriminators whose gradient has a closed form; imported by tests of penalties."""

import pytest
import torch
from torch import nn

from conftest import engine, small_game
from sparring.augment.ada import ADA
from sparring.games.clock import Clock
from sparring.games.generation import Generation
from sparring.games.turn import Turn
from sparring.losses import Wasserstein
from sparring.networks import mlp
from sparring.networks.base_discriminator import BaseDiscriminator, Several
from sparring.randomness import Draws
from sparring.regularizers.generator import PathLength
from sparring.regularizers.lecam import LeCam

BATCH, SHAPE = 4, (3, 3, 2)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Linear(nn.Module):
    """D(x) = w.x, whose gradient is w everywhere: (-17, -15, ..., 17) / 17, of squared length 1938 / 289."""

    def __init__(self, factor: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(factor * torch.linspace(-1, 1, 18))

    def features(self, images):
        return images.flatten(1)

    def forward(self, images, labels=None):
        return images.flatten(1) @ self.weight


class Quadratic(nn.Module):
    """D(x) = |x|^2 / 2, whose gradient is x; with labels, D(x, y) = y |x|^2 / 2."""

    def forward(self, images, labels=None):
        self.seen = images.detach()
        return images.square().flatten(1).sum(1) / 2 * (1 if labels is None else labels)


class Smooth(BaseDiscriminator):
    """A small network without kinks."""

    def __init__(self):
        super().__init__(5)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(18, 5), nn.Tanh())

    def features(self, images):
        return self.layers(images)


class Maker(nn.Module):
    """G(z) = tanh(A z), of three latents; without ``tanh`` linear. StyleGAN2's parts: w = A z, three layers' worth."""

    def __init__(self, tanh: bool = True):
        super().__init__()
        self.linear = nn.Linear(3, 18, bias=False)
        self.squash = nn.Tanh() if tanh else nn.Identity()

    def forward(self, latents, labels=None):
        return self.squash(self.linear(latents)).view(-1, *SHAPE)


def two(kind: type[nn.Module]) -> Several:
    return Several([kind(), kind()])


def a_turn(
    discriminator, iteration=0, player="discriminator", kimg=0.0, generator=None, batch=BATCH, **options
) -> Turn:
    """A turn on four reals (all pixels positive); the discriminator's on four fakes, all negative."""
    game = Generation(generator or Maker(), discriminator, Wasserstein(), latent_dim=3, **options)
    draws = Draws((0, iteration, player, 0), batch, slice(0, batch))
    clock = Clock(int(1000 * kimg), 1) if kimg else Clock(iteration=iteration)
    turn = Turn(game, player, {"labels": torch.arange(batch)}, draws, clock)
    turn.reals = example(1, batch).abs() + 1
    if player == "discriminator":
        turn.fakes = -example(2, batch).abs()
    return turn


def example(seed: int, batch: int = BATCH) -> torch.Tensor:
    return torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(seed))


def squares(images: torch.Tensor) -> torch.Tensor:
    return images.square().flatten(1).sum(1)


def check_gradients(value, weights: list[torch.Tensor], least: float = 1e-4) -> None:
    """What autograd says of ``value()`` by each of the weights is what moving them says."""
    gradients = torch.autograd.grad(value(), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        direction, moved = torch.randn_like(weight), []
        for step in (1e-5, -2e-5):  # above, then below
            weight.data += step * direction
            moved.append(value().item())
        weight.data += 1e-5 * direction
        slope = (moved[0] - moved[1]) / 2e-5
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-5, abs=1e-8)
        assert gradient.abs().max() > least


def draws(count: int, iteration: int = 0) -> Draws:
    return Draws((0, iteration), count, slice(0, count))


def pictures(count: int, size: int = 8, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


class Style(mlp.Generator):
    """An MLP that can be called in two parts, as StyleGAN2's generator."""

    def mapping(self, latents, labels=None):
        return self.layers[:2](self.latents(latents, labels))

    def synthesis(self, w):
        return self.layers[2:](w)


def remembering(**options):
    """An engine of everything that remembers, on however many ranks there are."""
    game = small_game(
        regularizers={"lecam": LeCam(start=2), "path_length": PathLength(every=2)},
        augment=ADA(p=0.5, adjust_kimg=0.5),
    )
    torch.manual_seed(0)
    game.generator = Style(image_size=8, channels=1, width=8, latent_dim=4)
    return engine(game, **({"batch_size": 16} | options))
