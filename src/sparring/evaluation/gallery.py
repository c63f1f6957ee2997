"""The generator as it is shown and scored: which weights, which batch-norm policy, which latents."""

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from sparring.games.game import Game
from sparring.randomness import Draws

BatchNormPolicy = Literal["running", "standing", "batch"]
BLOCK = 64  # latents drawn together: part of what sample i is, so it never changes
STANDING_BATCHES = 25


class Gallery:
    """Makes images with a fixed copy of a game's producer. Sample i is a function of (seed, purpose, i).

    Args:
        game: knows how to make latents and images.
        producer: the weights to show, the average or the raw ones.
        batch_norm: ``running`` uses the statistics gathered in training; ``standing`` gathers them anew over 25 batches,
            for these very weights (Brock et al. 2019, BigGAN, appendix); ``batch`` uses each batch's own, so that an image depends
            on its neighbours. Networks without batch norm are not affected.
        seed: of the latents.
        batch_size: images a pass.
        num_classes: labels to cycle through while standing statistics are gathered, 0 for none.
        device: where images are made.
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
    ):
        self.game, self.seed, self.batch_size, self.device = game, seed, batch_size, torch.device(device)
        self.producer = copy.deepcopy(producer).requires_grad_(False).eval()
        norms = [m for m in self.producer.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self.dtype = next(self.producer.parameters()).dtype
        self.batch_norm = batch_norm if norms else "not in the network"
        if norms and batch_norm != "running":
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a plain mean over all batches
                norm.train()
            if batch_norm == "standing":
                count = STANDING_BATCHES * BLOCK
                labels = torch.arange(count) % num_classes if num_classes else None
                self.show(self.latents("standing statistics", count), labels, BLOCK)
                for norm in norms:
                    norm.eval()

    def latents(self, purpose: str, count: int, start: int = 0) -> Tensor:
        """Latents start, ..., start + count - 1 of an endless sequence, (count, latent_dim)."""
        block, first = divmod(start, BLOCK)
        found = []
        while sum(map(len, found)) < first + count:
            key = (self.seed, purpose, block)
            found.append(self.game.latents(Draws(key, BLOCK, slice(0, BLOCK), self.device)))
            block += 1
        return torch.cat(found)[first : first + count]

    @torch.inference_mode()
    def show(self, latents: Tensor, labels: Tensor | None = None, batch_size: int | None = None) -> Tensor:
        """What latents (batch, ...) become: images as uint8 (batch, C, H, W), made in passes of at most ``batch_size``."""
        made, size = [], batch_size or self.batch_size
        for i in range(0, len(latents), size):
            part = slice(i, i + size)
            condition = None if labels is None else labels[part].to(self.device)
            images = self.game.produce(latents[part].to(self.dtype), condition, self.producer)
            made.append(self.game.as_data(images))
        return torch.cat(made)
