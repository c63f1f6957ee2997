"""Given examples in a generator's latents: inversion by optimisation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparring.distributed import signals
from sparring.sampling.latent_space import Space

CANDIDATES = 1000  # samples among which optimisation starts at the nearest
RATE = 0.1  # of Adam at first; it falls to 0 as half a cosine


@dataclass(frozen=True)
class Projection:
    """The points nearest to examples, and how near.

    Args:
        points: (N, dim), those found.
        labels: (N,) of a conditional generator: the class that fits best, of those allowed.
        found: (N, ...) what the points become, as examples are stored.
        nearest: (N, ...) the nearest of 1,000 samples: what is had without optimisation.
        psnr: (N,) of ``found``, in dB: 10 log10(4 / mean squared difference) of values in [-1, 1].
        nearest_psnr: (N,) of ``nearest``.
    """

    points: Tensor
    labels: Tensor | None
    found: Tensor
    nearest: Tensor
    psnr: Tensor
    nearest_psnr: Tensor


def project(
    space: Space, examples: Tensor, labels: Tensor | None = None, iterations: int = 300, restarts: int = 4
) -> Projection:
    """Points whose examples differ least from given ones in mean square (Lipton & Tripathy 2017, eq. 2; Creswell & Bharath 2018).

    From each of the ``restarts`` nearest of 1,000 samples Adam descends; the best that was met at a start or an end counts. Normal latents are kept from
    growing longer than samples are, uniform ones within [-1, 1]; styles w are free (Abdal et al. 2019).

    Args:
        space: the generator's.
        examples: (N, ...) as they are stored.
        labels: the classes that a conditional generator is told; each sample among which the descent starts has one of them, in turn.
        iterations: of Adam, from each start.
        restarts: starts for each example.
    """
    told = None if labels is None else labels[torch.arange(CANDIDATES) % len(labels)]
    candidates = space.sample("projection", CANDIDATES, told)
    samples = space.show(candidates, told)
    parts = max(space.sampler.batch_size // restarts, 1)
    done = [_project(space, part, candidates, told, samples, iterations, restarts) for part in examples.split(parts)]
    joined = [None if column[0] is None else torch.cat(column) for column in zip(*done, strict=True)]
    return Projection(*joined)


def _project(space, examples, candidates, told, samples, iterations, restarts) -> tuple:
    """The columns of a Projection of a few examples."""
    game, count = space.game, len(examples)
    targets = game.scaled(examples.to(samples.device)).flatten(1)
    errors = torch.cdist(targets, game.scaled(samples).flatten(1)).square() / targets.shape[1]  # (count, CANDIDATES)
    starts = errors.topk(restarts, largest=False).indices  # (count, restarts)
    chosen = None if told is None else told[starts.flatten().cpu()]
    wanted = targets.repeat_interleave(restarts, 0)
    with torch.enable_grad():
        points = candidates[starts.flatten()].clone().requires_grad_()
        optimizer = torch.optim.Adam([points], RATE, betas=(0.9, 0.999))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(iterations, 1))
        for _ in range(iterations):
            signals.raise_if_interrupted()
            optimizer.zero_grad()
            difference = space.make(points, chosen).flatten(1) - wanted
            difference.square().mean(1).sum().backward()
            optimizer.step()
            schedule.step()
            _keep_among_samples(space, points)
    points = points.detach()
    made, begun = space.show(points, chosen), errors.gather(1, starts).flatten()
    ended = (game.scaled(made).flatten(1) - wanted).square().mean(1)
    astray = ended > begun  # of what can hardly be made
    points[astray], made[astray] = candidates[starts.flatten()][astray], samples[starts.flatten()][astray]
    ended = torch.minimum(ended, begun).view(count, restarts)
    best = ended.argmin(1) + restarts * torch.arange(count, device=ended.device)
    return (
        points[best],
        None if chosen is None else chosen[best.cpu()],
        made[best],
        samples[starts[:, 0]],
        _decibels(ended.min(1).values),
        _decibels(errors.min(1).values),
    )


@torch.no_grad()
def _keep_among_samples(space: Space, points: Tensor) -> None:
    if space.name == "z" and space.game.latent == "normal":
        longest = space.measured.norm(dim=1).max()
        points.mul_((longest / points.norm(dim=1, keepdim=True)).clamp(max=1))
    points.copy_(space.kept(points))


def _decibels(errors: Tensor) -> Tensor:
    return (10 * (4 / errors.clamp(min=4e-10)).log10()).cpu()
