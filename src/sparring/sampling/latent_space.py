"""The space in which samples are varied: a generator's latents z, or StyleGAN2's styles w."""

from typing import Any

import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.distributed import signals
from sparring.evaluation.sampler import Sampler, in_passes

MEASURED = 1024  # points that give the deviation along a direction
PROBES = 4  # points at which the effect of each axis is measured


class Space:
    """Latents z; or, of a generator that maps them (StyleGAN2), styles w, the same for every layer.

    Attributes:
        name: ``z`` or ``w``.
        dim: numbers of a point.
        measured: points of samples (1024, dim); for a conditional generator's styles, of its first class.

    Raises:
        UserError: the sampler's game does not ``walk``: near latents don't make similar examples.
    """

    def __init__(self, sampler: Sampler):
        self.sampler = sampler
        self.game: Any = sampler.game
        self.producer: Any = sampler.producer
        if not self.game.walks:
            raise UserError(
                f"sample.kind: the latents of {type(self.game).__name__} are no space to walk in; "
                "sample.kind=samples draws it"
            )
        self.name = "w" if hasattr(self.producer, "mapping") else "z"
        self.measured = self.sample("deviations", MEASURED)
        self.dim = self.measured.shape[1]

    @torch.no_grad()
    def points(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the points (batch, dim) of latents (batch, latent_dim) and labels (batch,)."""
        latents = latents.to(self.sampler.device, self.sampler.dtype)
        return latents if self.name == "z" else self.producer.mapping(latents, self._labels(labels, len(latents)))[:, 0]

    def sample(self, purpose: str, count: int, labels: Tensor | None = None) -> Tensor:
        """Return the points (count, dim) of the first samples of a ``purpose``; see ``Sampler.latents``."""
        return self.points(self.sampler.latents(purpose, count), labels)

    def make(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return what the generator makes of points (batch, dim), as networks see it; differentiable."""
        if self.name == "z":
            return self.game.produce(points, self._labels(labels, len(points)), self.producer)
        return self.producer.synthesis(points[:, None].expand(-1, self.producer.synthesis.layers, -1))

    @torch.no_grad()
    def show(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the examples of points (batch, dim), as data are stored (images: uint8)."""

        def make(part: slice) -> Tensor:
            signals.raise_if_interrupted()
            return self.game.as_data(self.make(points[part], None if labels is None else labels[part]))

        return in_passes(make, len(points), self.sampler.batch_size)

    def walk(self, points: Tensor, direction: Tensor, steps: int, reach: float) -> list[Tensor]:
        """Return ``steps`` batches of points (batch, dim) from -reach to +reach along a unit direction (dim,).

        The unit of ``reach`` is the deviation of samples in that direction: walks of 2 or 3 stay among samples.
        """
        deviation = (self.measured @ direction).std()
        offsets = torch.linspace(-reach, reach, steps).tolist()
        return [self.nearest_valid(points + offset * deviation * direction) for offset in offsets]

    def nearest_valid(self, points: Tensor) -> Tensor:
        """Return the nearest points (batch, dim) that the generator's latents can have."""
        return self.game.clip_to_prior(points) if self.name == "z" else points

    def strongest(self, count: int) -> Tensor:
        """Return the axes (count, dim) along which examples change most, the strongest first.

        The change is the mean absolute difference of examples one deviation to either side.
        """
        points, axes = self.sample("strongest", PROBES), torch.eye(self.dim, device=self.sampler.device)
        axes = axes.to(self.sampler.dtype)
        changes = []
        for axis in axes:
            before, after = (self.show(step).float() for step in self.walk(points, axis, 2, 1.0))
            changes.append(float((after - before).abs().mean()))
        return axes[torch.tensor(changes).argsort(descending=True, stable=True)[:count]]

    def _labels(self, labels: Tensor | None, count: int) -> Tensor | None:
        """Return labels (count,), by default the first class; None for an unconditional generator."""
        if not self.game.conditional:
            return None
        return (torch.zeros(count, dtype=torch.int64) if labels is None else labels).to(self.sampler.device)
