"""What one turn sees: each quantity is made once, when it is first asked for."""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sparring.randomness import Draws

if TYPE_CHECKING:
    from sparring.games.game import Game


class Turn:
    """One turn of one player over one micro-batch.

    Which parameters carry gradient is decided by the engine before the turn (only the player's own do), so ``fakes``
    made in the discriminator's turn have no graph, and in the generator's turn they have one.

    Args:
        game: whose turn this is part of; it says how each quantity is made.
        player: the name of the player whose loss is computed.
        batch: columns of real data, e.g. ``images`` (batch, C, H, W) uint8 and ``labels`` (batch,) int64. A player
            that draws no reals is given the labels alone.
        draws: this turn's random numbers.
        iteration: iterations completed before this one.
        watched: whether this iteration is logged, so that costly diagnostics are worth computing.
        kimg: the clock before this iteration.
    """

    def __init__(
        self,
        game: "Game",
        player: str,
        batch: dict[str, Tensor],
        draws: Draws,
        iteration: int = 0,
        watched: bool = False,
        kimg: float = 0.0,
    ):
        self.game = game
        self.player = player
        self.batch = batch
        self.draws = draws
        self.iteration = iteration
        self.watched = watched
        self.kimg = kimg
        self.notes: dict[str, Tensor] = {}  # scalars to be logged beside the loss terms, by name
        self.parts: dict[str, Turn] = {}  # of a game that is made of others, what each of them sees

    def part(self, game: "Game", batch: dict[str, Tensor], name: str) -> "Turn":
        """What a game within this one sees of the turn: columns and draws of its own."""
        draws = replace(self.draws, key=(*self.draws.key, name))
        return Turn(game, self.player, batch, draws, self.iteration, self.watched, self.kimg)

    @cached_property
    def reals(self) -> Tensor:
        return self.game.reals(self.batch)

    @cached_property
    def condition(self) -> Tensor | None:
        return self.game.condition(self.batch, self.draws)

    @cached_property
    def latents(self) -> Tensor:
        return self.game.latents(self.draws)

    @cached_property
    def fakes(self) -> Tensor:
        return self.game.produce(self.latents, self.condition)

    @cached_property
    def real_logits(self) -> Tensor:
        if self.game.reads_features:  # one pass for all that is read from them
            return self.game.judge_features(self.real_features, self.condition)
        return self.judge(self.reals, "real")

    @cached_property
    def fake_logits(self) -> Tensor:
        if self.game.reads_features:
            return self.game.judge_features(self.fake_features, self.condition)
        return self.judge(self.fakes, "fake")

    @cached_property
    def real_features(self) -> Tensor:
        """What D's logits of the reals are read from, (batch, dim)."""
        return self.game.features(self.augmented(self.reals, "real"), self.condition)

    @cached_property
    def fake_features(self) -> Tensor:
        return self.game.features(self.augmented(self.fakes, "fake"), self.condition)

    def judge(self, images: Tensor, purpose: str) -> Tensor:
        """D's logits of augmented images; the same ``purpose`` in a turn means the same augmentation."""
        return self.game.discriminate(self.augmented(images, purpose), self.condition)

    def augmented(self, images: Tensor, purpose: str) -> Tensor:
        """Images as D is to see them."""
        augment = self.game.augment
        return images if augment is None else augment(images, self.draws, purpose, self.kimg)

    def reuse_fakes(self, other: "Turn") -> None:
        """Take the fakes (and what they were made from) of another player's turn, without their graph."""
        self.latents, self.condition, self.fakes = other.latents, other.condition, other.fakes.detach()

    def input_gradient(self, images: Tensor, purpose: str) -> Tensor:
        """Gradient of D's logits by its input, at ``images``: (logits, numbers in an input), itself differentiable.

        Where every patch of an image has a logit, of their mean.

        D sees the images augmented as for ``purpose``; the gradient goes through that (Karras et al. 2020,
        StyleGAN2-ADA). In float32 whatever the training precision: the square of a bfloat16 gradient keeps two digits.
        """
        images = images.detach().to(torch.get_default_dtype()).requires_grad_()
        with torch.autocast(images.device.type, enabled=False), self.game.uncompiled():
            logits = self.judge(images, purpose)
            judged = min(len(images), len(logits))  # packs of images, or images of which every patch is judged
            means = logits.view(judged, -1, *logits.shape[1:]).mean(1)
            gradients = [
                torch.autograd.grad(each.sum(), images, create_graph=True)[0].reshape(judged, -1)
                for each in means.view(judged, -1).unbind(1)  # of each discriminator
            ]
        return torch.cat(gradients)
