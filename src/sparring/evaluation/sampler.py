"""Sample a generator: which weights, latents or inputs, and batch-norm statistics are used."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sparring.data.splits import Columns
from sparring.games.game import Game
from sparring.randomness import Draws

BatchNormPolicy = Literal["running", "standing", "batch"]
BLOCK = 64  # latents drawn together; a change of it changes every sample
STANDING_BATCHES = 25
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def draw_latents(
    game: Game, seed: int, purpose: str, count: int, start: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Draw latents ``start`` to ``start + count - 1``, (count, latent_dim), of an endless sequence.

    Each seed and ``purpose`` (``grid``, ``sample``, ``evaluation`` ...) has its own sequence, drawn in blocks of 64. A
    block is a function of (seed, purpose, number), so latent i is the same for every batch size, rank and run, but not
    on another kind of device.
    """
    return _in_blocks(range(start, start + count), lambda block: game.latents(_draws(seed, purpose, block, device)))


def in_passes(make: Callable[[slice], Tensor], count: int, size: int) -> Tensor:
    """Concatenate what ``make`` returns for slices of at most ``size`` of ``count`` examples."""
    return torch.cat([make(slice(i, i + size)) for i in range(0, count, size)])


class Sampler:
    """Samples a copy of a game's producer. Sample i is a function of (seed, purpose, i), see ``draw_latents``.

    Args:
        game: draws the latents and runs the producer.
        producer: the weights that are sampled: the running average (EMA) or the raw ones.
        batch_norm: the statistics that batch norm uses. ``running``: those gathered in training. ``standing``: gathered
            anew for these weights over 25 batches of 64 latents (Brock et al. 2019, BigGAN); a game that translates
            uses ``running``. ``batch``: each batch's own, so an image depends on its neighbours.
        seed: of the latents.
        batch_size: images in a pass of the producer.
        num_classes: labels to cycle through while standing statistics are gathered, 0 for none.
        device: where images are generated.
        examples: held-out columns: the inputs of a game that translates, with their targets as ``images`` if known.
    """

    def __init__(
        self,
        game: Game,
        producer: nn.Module,
        batch_norm: BatchNormPolicy = "standing",
        seed: int = 0,
        batch_size: int = 100,
        num_classes: int = 0,
        device: torch.device | str = "cpu",
        examples: Columns | None = None,
    ):
        self.examples, self.num_classes = examples, num_classes
        self.example_count = min(map(len, examples.values())) if examples else 0
        self.game, self.seed, self.batch_size, self.device = game, seed, batch_size, torch.device(device)
        self.producer = copy.deepcopy(producer).requires_grad_(False).eval()
        self.dtype = next(self.producer.parameters()).dtype
        norms = [m for m in self.producer.modules() if isinstance(m, BATCH_NORMS)]
        if game.translates and batch_norm == "standing":
            batch_norm = "running"  # the only inputs to gather statistics from are those to be scored
        self.batch_norm = batch_norm if norms else "not in the network"
        if norms and batch_norm != "running":
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a plain mean over all batches
                norm.train()
            if batch_norm == "standing":
                self._gather_statistics()
                for norm in norms:
                    norm.eval()

    def latents(self, purpose: str, count: int, start: int = 0) -> Tensor:
        """Draw latents ``start`` to ``start + count - 1`` of a purpose, (count, latent_dim); see ``draw_latents``."""
        return draw_latents(self.game, self.seed, purpose, count, start, self.device)

    def inputs(self, rows: range) -> Tensor:
        """Return the producer's inputs for these held-out examples, (len(rows), C, H, W)."""
        return _in_blocks(rows, lambda block: self.game.condition(*self._examples("inputs", block)))

    @torch.inference_mode()
    def show(self, latents: Tensor | None, condition: Tensor | None = None, batch_size: int | None = None) -> Tensor:
        """Generate examples as the data store them (images as uint8, batch x C x H x W), in passes of ``batch_size``.

        Args:
            latents: (batch, latent_dim); None for a game that translates.
            condition: labels (batch,), or inputs (batch, C, H, W).
            batch_size: None for the sampler's own.
        """

        def produce(part: slice) -> Tensor:
            noise = None if latents is None else latents[part].to(self.dtype)
            labels = None if condition is None else condition[part].to(self.device)
            if labels is not None and labels.is_floating_point():  # inputs of a game that translates
                labels = labels.to(self.dtype)
            return self.game.as_data(self.game.produce(noise, labels, self.producer))

        given = condition if latents is None else latents
        assert given is not None
        return in_passes(produce, len(given), batch_size or self.batch_size)

    @torch.no_grad()
    def own_scores(self, columns: Columns | None = None, count: int = 0) -> dict[str, float]:
        """Return the game's own scores, such as a likelihood: means over held-out examples or ``count`` given ones."""
        if columns is None:
            columns, count = self.examples, self.example_count
        parts = []
        with self._game_at_rest():
            for start in range(0, count, BLOCK):
                batch = self._examples("own scores", start // BLOCK, columns, min(start + BLOCK, count))
                scores = self.game.own_scores(*batch, self.producer)
                if not scores:
                    return {}
                parts.append(scores)
        return {name: float(torch.cat([part[name] for part in parts]).mean()) for name in (parts[0] if parts else ())}

    @torch.no_grad()
    def reconstructions(self, columns: Columns) -> Tensor | None:
        """Return examples that were encoded and decoded, as the data store them; None if the game has no encoder."""
        with self._game_at_rest():
            batch = {name: column.to(self.device) for name, column in columns.items()}
            images = self.game.reconstruct(batch, self.producer)
        return None if images is None else self.game.as_data(images)

    @contextmanager
    def _game_at_rest(self) -> Iterator[None]:
        """Put the game into evaluation mode; reals get the type of its weights, as in training."""
        training, default_dtype = self.game.training, torch.get_default_dtype()
        self.game.eval()
        torch.set_default_dtype(self.dtype)
        try:
            yield
        finally:
            self.game.train(training)
            torch.set_default_dtype(default_dtype)

    def _examples(
        self, purpose: str, block: int, columns: Columns | None = None, end: int | None = None
    ) -> tuple[dict[str, Tensor], Draws]:
        """Return a block of the held-out examples, or of ``columns`` up to row ``end``, and its random draws."""
        rows = slice(block * BLOCK, end or (block + 1) * BLOCK)
        batch = {name: column[rows].to(self.device) for name, column in (columns or self.examples or {}).items()}
        draws = _draws(self.seed, purpose, block, self.device)
        return batch, draws.only(slice(0, len(next(iter(batch.values())))))

    def _gather_statistics(self) -> None:
        count = STANDING_BATCHES * BLOCK
        labels = torch.arange(count) % self.num_classes if self.num_classes else None
        self.show(self.latents("standing statistics", count), labels, BLOCK)


def _draws(seed: int, purpose: str, block: int, device: torch.device | str) -> Draws:
    return Draws((seed, purpose, block), BLOCK, slice(0, BLOCK), device)


def _in_blocks(rows: range, make: Callable[[int], Any]) -> Tensor:
    """Return the given rows of a sequence that ``make`` returns block by block."""
    first, last = rows.start // BLOCK, (rows.stop - 1) // BLOCK
    return torch.cat([make(block) for block in range(first, last + 1)])[rows.start - first * BLOCK :][: len(rows)]
