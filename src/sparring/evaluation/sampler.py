"""The generator as it is shown and scored: which weights, which batch-norm policy, which latents or inputs."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from sparring.data.held_out import Columns
from sparring.games.game import Game
from sparring.randomness import Draws

BatchNormPolicy = Literal["running", "standing", "batch"]
BLOCK = 64  # latents drawn together: part of what sample i is, so it never changes
STANDING_BATCHES = 25


def draw_latents(
    game: Game, seed: int, purpose: str, count: int, start: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    return Sampler._in_blocks(
        range(start, start + count),
        lambda block: game.latents(Draws((seed, purpose, block), BLOCK, slice(0, BLOCK), torch.device(device))),
    )


def in_passes(make: Callable[[slice], Tensor], count: int, size: int) -> Tensor:
    return torch.cat([make(slice(i, i + size)) for i in range(0, count, size)])


class Sampler:
    """Makes images with a fixed copy of a game's producer. Sample i is a function of (seed, purpose, i).

    Of a game that translates, sample i is the answer to example i of ``examples``.

    Args:
        game: knows how to make latents and images.
        producer: the weights to show, the average or the raw ones.
        batch_norm: ``running`` uses the statistics gathered in training; ``standing`` gathers them anew over 25 batches,
            for these very weights (Brock et al. 2019, BigGAN, appendix), and is ``running`` for a game that translates;
            ``batch`` uses each batch's own, so that an image depends on its neighbours. Networks without batch norm are not
            affected.
        seed: of the latents.
        batch_size: images a pass.
        num_classes: labels to cycle through while standing statistics are gathered, 0 for none.
        device: where images are made.
        examples: held-out columns, if there are any; of a game that translates ``images`` among them where it is known what
            was wanted.
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
        examples: dict[str, Tensor] | None = None,
    ):
        self.examples = examples
        self.example_count = min(map(len, examples.values())) if examples else 0
        self.game, self.seed, self.batch_size, self.device = game, seed, batch_size, torch.device(device)
        self.producer = copy.deepcopy(producer).requires_grad_(False).eval()
        norms = [m for m in self.producer.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self.dtype = next(self.producer.parameters()).dtype
        if game.translates and batch_norm == "standing":
            batch_norm = "running"  # there are no inputs to gather statistics from but those that are to be scored
        self.batch_norm = batch_norm if norms else "not in the network"
        if norms and batch_norm != "running":
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a plain mean over all batches
                norm.train()
            if batch_norm == "standing":
                self._pass_statistics(num_classes)
                for norm in norms:
                    norm.eval()

    def latents(self, purpose: str, count: int, start: int = 0) -> Tensor:
        """Latents start, ..., start + count - 1 of an endless sequence, (count, latent_dim)."""
        return self._in_blocks(
            range(start, start + count), lambda block: self.game.latents(self._draws(purpose, block))
        )

    def inputs(self, rows: range) -> Tensor:
        """What these of the examples are answered as: the producer's condition, (len(rows), C, H, W)."""
        return self._in_blocks(rows, lambda block: self.game.condition(*self._examples("inputs", block)))

    @torch.no_grad()
    def own_scores(self, columns: Columns | None = None, count: int = 0) -> dict[str, float]:
        """What only this game says of its held-out examples, or of the first ``count`` of others, on average."""
        if type(self.game).own_scores is Game.own_scores:
            return {}
        columns, count = (self.examples, self.example_count) if columns is None else (columns, count)
        starts = range(0, count, BLOCK)
        with self._networks_at_rest():
            batches = (self._examples("own scores", i // BLOCK, columns, min(i + BLOCK, count)) for i in starts)
            found = [self.game.own_scores(*batch, self.producer) for batch in batches]
        return {name: float(torch.cat([part[name] for part in found]).mean()) for name in (found[0] if found else ())}

    @torch.no_grad()
    def reconstructions(self, columns: dict[str, Tensor]) -> Tensor | None:
        """Examples, encoded and made anew by a game that can: images as uint8."""
        with self._networks_at_rest():
            batch = {name: column.to(self.device) for name, column in columns.items()}
            made = self.game.reconstruct(batch, self.producer)
        return None if made is None else self.game.as_data(made)

    @contextmanager
    def _networks_at_rest(self) -> Iterator[None]:
        """The game in evaluation mode, and reals of the type of its weights, as in training."""
        training, usual = self.game.training, torch.get_default_dtype()
        self.game.eval()
        torch.set_default_dtype(self.dtype)
        try:
            yield
        finally:
            self.game.train(training)
            torch.set_default_dtype(usual)

    def _examples(
        self, purpose: str, block: int, columns: Columns | None = None, end: int | None = None
    ) -> tuple[dict[str, Tensor], Draws]:
        """A block of the examples, or of others, and its draws; up to row ``end``."""
        columns, rows = columns or self.examples, slice(block * BLOCK, end or (block + 1) * BLOCK)
        batch = {name: column[rows].to(self.device) for name, column in columns.items()}
        return batch, self._draws(purpose, block).only(slice(0, len(next(iter(batch.values())))))

    @torch.inference_mode()
    def show(self, latents: Tensor | None, condition: Tensor | None = None, batch_size: int | None = None) -> Tensor:
        """What latents (batch, ...) and labels (batch,), or inputs (batch, ...) become: images as uint8 (batch, C, H, W).

        Made in passes of at most ``batch_size``.
        """
        made, size = [], batch_size or self.batch_size
        for i in range(0, len(condition if latents is None else latents), size):
            part = slice(i, i + size)
            noise = None if latents is None else latents[part].to(self.dtype)
            told = None if condition is None else condition[part].to(self.device)
            if told is not None and told.is_floating_point():  # an image, no labels
                told = told.to(self.dtype)
            made.append(self.game.as_data(self.game.produce(noise, told, self.producer)))
        return torch.cat(made)

    def _pass_statistics(self, num_classes: int) -> None:
        count = STANDING_BATCHES * BLOCK
        labels = torch.arange(count) % num_classes if num_classes else None
        self.show(self.latents("standing statistics", count), labels, BLOCK)

    def _draws(self, purpose: str, block: int) -> Draws:
        return Draws((self.seed, purpose, block), BLOCK, slice(0, BLOCK), self.device)

    @staticmethod
    def _in_blocks(rows: range, make: Callable[[int], Tensor]) -> Tensor:
        """The wanted rows of what is made in blocks."""
        first, last = rows.start // BLOCK, (rows.stop - 1) // BLOCK
        return torch.cat([make(block) for block in range(first, last + 1)])[rows.start - first * BLOCK :][: len(rows)]
