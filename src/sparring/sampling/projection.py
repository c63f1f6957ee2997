"""Projection of examples into a generator's latents: inversion by optimisation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparring.distributed import signals
from sparring.sampling.latent_space import Space

CANDIDATES = 1000  # samples; optimisation starts at those nearest to an example
LEARNING_RATE = 0.1  # of Adam at the start; it falls to 0 as half a cosine


@dataclass(frozen=True)
class Projection:
    """The points nearest to N examples, and how near they are.

    Args:
        points: (N, dim).
        labels: (N,) the best of the allowed classes; None for an unconditional generator.
        made: (N, ...) the examples of the points, as data are stored.
        nearest_samples: (N, ...) the nearest of 1,000 samples: the result without optimisation.
        psnr: (N,) of ``made``, in dB: 10 log10(4 / mean squared difference), for values in [-1, 1].
        nearest_psnr: (N,) of ``nearest_samples``.
    """

    points: Tensor
    labels: Tensor | None
    made: Tensor
    nearest_samples: Tensor
    psnr: Tensor
    nearest_psnr: Tensor


def project(
    space: Space, examples: Tensor, labels: Tensor | None = None, iterations: int = 300, restarts: int = 4
) -> Projection:
    """Find points whose examples have the least mean squared difference from given ones.

    (Lipton & Tripathy 2017, eq. 2; Creswell & Bharath 2018.) Adam descends from each of the ``restarts`` nearest of
    1,000 samples; the best start or end is the result. Normal latents are kept from growing longer than samples,
    uniform ones within [-1, 1]; styles w are free (Abdal et al. 2019).

    Args:
        space: the generator's.
        examples: (N, ...) as data are stored.
        labels: classes of a conditional generator; the candidates have one of them each, in turn.
        iterations: of Adam, from each start.
        restarts: starts for each example.
    """
    candidate_labels = None if labels is None else labels[torch.arange(CANDIDATES) % len(labels)]
    candidates = space.sample("projection", CANDIDATES, candidate_labels)
    samples = space.show(candidates, candidate_labels)
    scaled = space.game.scaled

    def project_part(part: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor, Tensor]:
        """Return the fields of the ``Projection`` of a few examples."""
        targets = scaled(part.to(samples.device)).flatten(1)
        errors = torch.cdist(targets, scaled(samples).flatten(1)).square() / targets.shape[1]  # (part, CANDIDATES)
        nearest = errors.topk(restarts, largest=False).indices  # (part, restarts)
        starts = nearest.flatten()
        start_labels = None if candidate_labels is None else candidate_labels[starts.cpu()]
        targets = targets.repeat_interleave(restarts, 0)
        points = _descend(space, candidates[starts].clone(), start_labels, targets, iterations)
        made, start_errors = space.show(points, start_labels), errors.gather(1, nearest).flatten()
        end_errors = (scaled(made).flatten(1) - targets).square().mean(1)
        worse = end_errors > start_errors  # of examples that the generator can hardly make
        points[worse], made[worse] = candidates[starts][worse], samples[starts][worse]
        least = torch.minimum(end_errors, start_errors).view(-1, restarts)
        best = least.argmin(1) + restarts * torch.arange(len(part), device=least.device)
        best_labels = None if start_labels is None else start_labels[best.cpu()]
        psnr, nearest_psnr = _decibels(least.min(1).values), _decibels(errors.min(1).values)
        return points[best], best_labels, made[best], samples[nearest[:, 0]], psnr, nearest_psnr

    parts = [project_part(part) for part in examples.split(max(space.sampler.batch_size // restarts, 1))]
    points, labels_found, *others = zip(*parts, strict=True)
    found = None if labels is None else torch.cat([each for each in labels_found if each is not None])
    return Projection(torch.cat(points), found, *map(torch.cat, others))


@torch.enable_grad()
def _descend(space: Space, points: Tensor, labels: Tensor | None, targets: Tensor, iterations: int) -> Tensor:
    """Move points (n, dim) so that their examples approach ``targets`` (n, values)."""
    points.requires_grad_()
    optimizer = torch.optim.Adam([points], LEARNING_RATE, betas=(0.9, 0.999))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(iterations, 1))
    for _ in range(iterations):
        signals.raise_if_interrupted()
        optimizer.zero_grad()
        difference = space.make(points, labels).flatten(1) - targets
        difference.square().mean(1).sum().backward()
        optimizer.step()
        schedule.step()
        _keep_among_samples(space, points)
    return points.detach()


@torch.no_grad()
def _keep_among_samples(space: Space, points: Tensor) -> None:
    if space.name == "z" and space.game.latent == "normal":
        longest = space.measured.norm(dim=1).max()
        points.mul_((longest / points.norm(dim=1, keepdim=True)).clamp(max=1))
    points.copy_(space.nearest_valid(points))


def _decibels(errors: Tensor) -> Tensor:
    return (10 * (4 / errors.clamp(min=4e-10)).log10()).cpu()
