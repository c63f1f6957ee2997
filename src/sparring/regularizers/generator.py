"""Regularizers of the generator."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from sparring.distributed import collectives
from sparring.regularizers.base import Game, Regularizer, Turn


class FeatureMatching(Regularizer):
    """|E h(x) - E h(G(z))|^2, h what D's logits are read from (Salimans et al. 2016, section 3.1).

    The expectations are over the batch that a rank sees. The paper trains G by this alone; here it joins G's loss.
    """

    player = "generator"
    needs_reals = True
    reads_features = True
    couples_batch = True

    def forward(self, turn: Turn) -> Tensor:
        with torch.no_grad():
            real = turn.real_features.to(torch.get_default_dtype()).mean(0)
        return (real - turn.fake_features.to(torch.get_default_dtype()).mean(0)).square().sum()


class ModeSeeking(Regularizer):
    """1 / (E|G(z) - G(z')| / E|z - z'| + 1e-5), means of absolute differences over the batch (Mao et al. 2019, MSGAN).

    The ratio, which the paper maximises, is inverted as in its code. There the second images are judged, too.
    """

    needs_latents = True
    player = "generator"
    couples_batch = True

    def forward(self, turn: Turn) -> Tensor:
        others = turn.other_latents("mode_seeking")
        images = turn.produce(others)
        apart = (turn.fakes.to(others.dtype) - images.to(others.dtype)).abs().mean()
        return 1 / (apart / (turn.latents - others).abs().mean() + 1e-5)


class TopK(Regularizer):
    """The generator learns from its k most convincing fakes, those of the highest logits (Sinha et al. 2020).

    k = max(gamma^e B, nu B) of a batch of B, where e counts the epochs that are over. With several discriminators each
    chooses its own. The share k / B is logged as ``top_k``.

    Args:
        gamma: factor of k an epoch.
        nu: least share of the batch.
        epoch_kimg: length of an epoch, in thousands of real images: the size of the data over 1000.
    """

    player = "generator"
    couples_batch = True

    def __init__(
        self,
        gamma: Annotated[float, Field(gt=0, le=1)] = 0.99,
        nu: Annotated[float, Field(gt=0, le=1)] = 0.5,
        epoch_kimg: Annotated[float, Field(gt=0, le=1e9)] = 50.0,
    ):
        super().__init__()
        self.gamma = gamma
        self.nu = nu
        self.epoch_kimg = epoch_kimg

    def share(self, iteration: int, kimg: float) -> float:
        """Return k / B at the clock's ``kimg``."""
        epochs = int(kimg / self.epoch_kimg + 1e-9)  # a sum of steps may fall short of the whole
        return max(self.gamma**epochs, self.nu)

    def choose(self, losses: Tensor, turn: Turn) -> Tensor:
        k = max(1, int(len(losses) * turn.decide(self.share)))
        turn.notes["top_k"] = torch.full((), k / len(losses), device=losses.device)
        return losses.gather(0, turn.fake_logits.detach().topk(k, dim=0).indices)


class PathLength(Regularizer):
    """(|J^T y| - a)^2 with J = dG/dw, y ~ N(0, 1/(H W)) an image, a the running mean of |J^T y|.

    (Karras et al. 2020, StyleGAN2, eq. 4.) It needs a generator with ``mapping(latents, labels) -> w``, of shape
    (batch, ..., dim), and ``synthesis(w)``. The squared length is averaged over the layers that are given w, as in the
    published code. a moves after the turn, over all ranks and micro-batches; the published code moves it before. It
    draws its own latents.

    Args:
        weight: gamma.
        every: iterations between two uses.
        decay: how far a moves towards the batch's mean length.
        batch_shrink: one in so many examples of the batch is used.
        options: those of ``Regularizer``.
    """

    mean: Tensor

    player = "generator"

    def __init__(
        self,
        weight: NonNegativeFloat = 2.0,
        every: PositiveInt = 4,
        decay: Annotated[float, Field(ge=0, le=1)] = 0.01,
        batch_shrink: PositiveInt = 2,
        **options: Any,
    ):
        super().__init__(weight, every, **options)
        self.decay = decay
        self.batch_shrink = batch_shrink
        self.register_buffer("mean", torch.zeros(()))
        self._latest: list[Tensor] = []  # mean lengths of this turn's micro-batches

    def check_fits(self, game: Game, data: Tensor) -> None:
        if not _with_mapping(game.players[self.player]):
            raise ValueError("it needs a generator with mapping and synthesis: model/generator=stylegan2")

    def forward(self, turn: Turn) -> Tensor:
        (generator,) = _with_mapping(turn.networks)
        used = slice(None, None, self.batch_shrink)  # spread evenly, so that ranks use the examples of one process
        labels = None if turn.condition is None else turn.condition[used]
        latents = turn.other_latents("path_length")[used]
        with torch.autocast(latents.device.type, enabled=False):
            w = generator.mapping(latents, labels)
            images = generator.synthesis(w)
            noise = turn.draws.normal("path_length noise", *images.shape[1:])[used] / math.sqrt(images[0, 0].numel())
            (gradient,) = torch.autograd.grad((images * noise).sum(), w, create_graph=True)
        squares = gradient.square().sum(-1).view(len(images), -1)
        lengths = squares.mean(1).sqrt()
        self._latest.append(lengths.detach().mean())
        return (lengths - self.mean).square()

    def after(self, turn: Turn) -> None:
        if self._latest:
            latest = torch.stack(self._latest).mean()
            collectives.all_reduce([latest])
            self.mean.lerp_(latest / collectives.world_size(), self.decay)
            self._latest.clear()


def _with_mapping(networks: Sequence[nn.Module]) -> list[Any]:
    """Return the networks that are called in two parts."""
    return [network for network in networks if hasattr(network, "mapping") and hasattr(network, "synthesis")]
