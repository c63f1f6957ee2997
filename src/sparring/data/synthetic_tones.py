"""Sounds of six kinds, drawn from formulas: nothing to download."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sparring.randomness import generator

BATCH = 500  # sounds that are drawn at a time
HISS = (0.005, 0.02)  # its deviation, of full scale
PARTIALS = [1, 2.76, 5.4, 8.93]  # of a free bar, over its lowest


def between(low: float, high: float, share: Tensor) -> Tensor:
    """Return pitches on a musical scale: equal shares are equal ratios."""
    return low * (high / low) ** share


def tone(low: float, high: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a sine that fades in and out, its pitch from ``low`` to ``high`` in cycles a sample."""

    def draw(time: Tensor, u: Tensor) -> Tensor:
        return _faded(time, u) * _sine(between(low, high, u[:, 2]) * time, u[:, 3])

    return draw


def chirp(octaves: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a sine that glides evenly by so many octaves, up or down; its middle is 1/32 to 1/12 cycles a sample."""

    def draw(time: Tensor, u: Tensor) -> Tensor:
        rate = octaves * math.log(2) / time.shape[1]  # of the growth of the pitch
        first = between(1 / 32, 1 / 12, u[:, 2]) * 2 ** (-octaves / 2)
        return _faded(time, u) * _sine(first * (rate * time).expm1() / rate, u[:, 3])

    return draw


def pluck(time: Tensor, u: Tensor) -> Tensor:
    """Return a string: eight harmonics of 1/80 to 1/25 cycles a sample, the higher ones weaker and shorter."""
    return _struck(time, u, between(1 / 80, 1 / 25, u[:, 2]), range(1, 9), 6.0)


def bell(time: Tensor, u: Tensor) -> Tensor:
    """Return a bar: four partials that are no harmonics, the lowest of 1/32 to 1/14 cycles a sample."""
    return _struck(time, u, between(1 / 32, 1 / 14, u[:, 2]), PARTIALS, 3.0)


KINDS = {
    "low tone": tone(1 / 64, 1 / 24),
    "high tone": tone(1 / 10, 1 / 4),
    "rising chirp": chirp(2.0),
    "falling chirp": chirp(-2.0),
    "pluck": pluck,
    "bell": bell,
}


def draw(count: int, length: int) -> tuple[Tensor, Tensor]:
    """Draw ``count`` sounds int16 (count, 1, length), equally many of every kind, and their labels (count,).

    They are always the same. Each has its own pitch, phase, onset in the first eighth, loudness, and a faint hiss, as
    recordings have: silence of zeros would give them away. Pitches are in cycles a sample.
    """
    labels = torch.arange(count) % len(KINDS)
    sounds = torch.empty(count, 1, length, dtype=torch.int16)
    shares, noise = torch.rand(count, 16, generator=generator("tones")), generator("hiss")
    for label, make in enumerate(KINDS.values()):
        for rows in (labels == label).nonzero()[:, 0].split(BATCH):
            u = shares[rows][..., None]
            waves = make(torch.arange(length).float()[None], u)
            waves = waves / waves.abs().amax(1, keepdim=True).clamp(min=1e-6)
            hiss = between(*HISS, u[:, 15]) * torch.randn(waves.shape, generator=noise)
            waves = (between(0.25, 0.9, u[:, 0]) * waves + hiss).clamp(-1, 1) * 32767
            sounds[rows, 0] = waves.round().to(torch.int16)
    return sounds, labels


def _sine(cycles: Tensor, phase: Tensor) -> Tensor:
    return (2 * math.pi * (cycles + phase)).sin()


def _faded(time: Tensor, u: Tensor) -> Tensor:
    """Return 0 before the onset and at the end, 1 between, with raised cosines of a sixteenth of the length."""
    place = time / time.shape[1]
    edge = torch.minimum(place - u[:, 1] / 8, 1 - place).mul(16).clamp(0, 1)
    return (1 - (math.pi * edge).cos()) / 2


def _struck(time: Tensor, u: Tensor, pitch: Tensor, partials: range | list[float], decay: float) -> Tensor:
    """Return partials that begin at the onset and die away, higher ones sooner; none above half the sample rate."""
    since = (time - time.shape[1] * u[:, 1] / 8).round()
    waves = torch.zeros_like(since)
    for i, ratio in enumerate(partials):
        loudness = (-decay * (1 + 0.25 * (ratio - 1)) * since / time.shape[1]).exp() / (i + 1) * (pitch * ratio < 0.5)
        waves += loudness * _sine(pitch * ratio * since, u[:, 3 + i])
    return torch.where(since >= 0, waves * (since / 16).clamp(0, 1), 0.0)  # without a click
