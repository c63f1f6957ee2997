"""The space in which a generator is walked."""

import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.distributed import signals
from sparring.evaluation.sampler import Sampler

MEASURED = 1024  # points of which the size of a step is measured
TRIED = 4  # points at which it is tried which numbers matter


class Space:
    """Latents z; or, of a generator that maps them (StyleGAN2), its styles w, the same for every layer.

    Args:
        sampler: the generator, of a game whose near latents make alike examples (``walks``).

    Attributes:
        name: ``z`` or ``w``.
        dim: of its points.
        measured: points of samples (1024, dim); styles of a conditional generator are those of its first class.

    Raises:
        UserError: its latents are no space.
    """

    def __init__(self, sampler: Sampler):
        self.sampler, self.game, self.producer = sampler, sampler.game, sampler.producer
        if not self.game.walks:
            raise UserError(
                f"sample.kind: the latents of {type(self.game).__name__} are no space to walk in; sample.kind=samples draws it"
            )
        self.name = "w" if hasattr(self.producer, "mapping") else "z"
        self.measured = self.sample("deviations", MEASURED)
        self.dim = self.measured.shape[1]

    @torch.no_grad()
    def points(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """The points (batch, dim) of latents (batch, latent_dim) and labels (batch,)."""
        latents = latents.to(self.sampler.device, self.sampler.dtype)
        return latents if self.name == "z" else self.producer.mapping(latents, self._told(labels, len(latents)))[:, 0]

    def sample(self, purpose: str, count: int, labels: Tensor | None = None) -> Tensor:
        """The points of samples 0 to ``count`` - 1 of an endless sequence, (count, dim)."""
        return self.points(self.sampler.latents(purpose, count), labels)

    def make(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        """What points (batch, dim) become, as networks make it; differentiable."""
        if self.name == "z":
            return self.game.produce(points, self._told(labels, len(points)), self.producer)
        return self.producer.synthesis(points[:, None].expand(-1, self.producer.synthesis.layers, -1))

    @torch.no_grad()
    def show(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        """What points (batch, dim) become, as examples are stored; in passes."""
        made, size = [], self.sampler.batch_size
        for i in range(0, len(points), size):
            signals.raise_if_interrupted()
            told = None if labels is None else labels[i : i + size]
            made.append(self.game.as_data(self.make(points[i : i + size], told)))
        return torch.cat(made)

    def walk(self, points: Tensor, direction: Tensor, steps: int, reach: float) -> list[Tensor]:
        """``steps`` batches of points (batch, dim), from -reach to +reach along a unit direction (dim,), as far as there are latents.
        The unit is the deviation of samples in that direction, so that walks of 2 or 3 stay among them.
        """
        size = (self.measured @ direction).std()
        return [self.kept(points + step * size * direction) for step in torch.linspace(-reach, reach, steps).tolist()]

    def kept(self, points: Tensor) -> Tensor:
        """Points (batch, dim) that were reached, where a generator of latents knows no others: the nearest that it knows."""
        return self.game.kept(points) if self.name == "z" else points

    def strongest(self, count: int) -> Tensor:
        """The axes (count, dim) along which examples change most, the strongest first: by the mean absolute difference of what
        lies a deviation to either side.
        """
        points, axes = self.sample("strongest", TRIED), torch.eye(self.dim, device=self.sampler.device)
        effects = []
        for axis in axes.to(self.sampler.dtype):
            back, forth = (self.show(step).float() for step in self.walk(points, axis, 2, 1.0))
            effects.append(float((forth - back).abs().mean()))
        return axes[torch.tensor(effects).argsort(descending=True, stable=True)[:count]].to(self.sampler.dtype)

    def _told(self, labels: Tensor | None, count: int) -> Tensor | None:
        """Labels (count,): those given, the first class where none are."""
        if not self.game.conditional:
            return None
        return (torch.zeros(count, dtype=torch.int64) if labels is None else labels).to(self.sampler.device)
