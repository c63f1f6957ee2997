"""The interface between the engine and what is being trained."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from sparring.augment.base import Augment
from sparring.config.errors import UserError
from sparring.data.modalities.base import Modality
from sparring.data.modalities.images import Images
from sparring.games.turn import Turn
from sparring.randomness import Draws
from sparring.regularizers.base import Regularizer


class Game(nn.Module, ABC):
    """Players that take turns, each with a loss of its own.

    The engine lets every player of ``players`` take its turn, in that order: it asks for the ``terms`` of the loss,
    sums them, computes gradients for this player's parameters alone, updates them and calls ``after``. A parameter may
    belong to several players. A new game defines ``players``, ``terms`` and ``produce``; the rest has defaults.
    """

    conditional = False  # whether the players are told a class label
    translates = False  # whether the producer answers to an image, so that held-out images are shown and scored
    needs_pairs = False  # whether images are to lie beside what they are made of
    shares_fakes = True  # whether the fakes of one player's turn can be shown in the next (``reuse_fakes``)
    draws_reals: frozenset[str] = frozenset({"discriminator"})  # the players that are shown data, the first among them
    modality: Modality = Images()  # what is made; the data decide
    walks = False  # whether near latents make alike examples, so that ways between them mean something
    reads_features = False  # whether anything but D's logits is read from D's features
    lower_is_better: tuple[str, ...] = ()  # which of its own scores fall as it gets better
    begins_from = ""  # the model from a run of which it should begin (``init``), if there is one

    def __init__(self, regularizers: Mapping[str, Regularizer] | None = None, augment: Augment | None = None):
        super().__init__()
        self.regularizers = nn.ModuleDict(regularizers)
        self.augment = augment
        self.compiled = False

    def compile_networks(self) -> None:
        """Compile the players' networks in place. What is differentiated twice runs ``uncompiled``."""
        for network in dict.fromkeys(network for networks in self.players.values() for network in networks):
            network.compile(dynamic=False)
        self.compiled = True

    def uncompiled(self) -> AbstractContextManager:
        """Within it networks run as they are written: compiled ones have no second derivative (pytorch#91469)."""
        return torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()

    @property
    @abstractmethod
    def players(self) -> dict[str, list[nn.Module]]:
        """The networks that each player trains, in turn order; the first may have several turns (``n_dis``)."""

    @property
    @abstractmethod
    def producer(self) -> nn.Module:
        """The network whose running average is shown and scored."""

    @abstractmethod
    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        """The loss of this player's turn: named, weighted scalars that the engine sums and logs."""

    @abstractmethod
    def produce(self, latents: Tensor, condition: Tensor | None = None, producer: nn.Module | None = None) -> Tensor:
        """What is shown, saved and scored; ``producer`` stands in for the game's own (its average, say)."""

    def after(self, player: str, turn: Turn) -> None:
        """Called without gradient after a player's update."""
        for regularizer in self.regularizers.values():
            if regularizer.player == player:
                regularizer.after(turn)
        if self.augment is not None and player == "discriminator":
            self.augment.after(turn)

    @torch.no_grad()
    def check_fits(self, producer: nn.Module, columns: dict[str, Tensor]) -> None:
        """Before anything is trained: what a producer (in evaluation mode) makes of latents has the shape of the data, and
        regularizers and augmentation can do with it.

        Raises:
            UserError: naming what does not fit.
        """
        few = {name: column[:2].cpu() for name, column in columns.items()}
        draws = Draws(("shapes",), len(few["images"]), slice(0, None))
        made = self.as_data(self.produce(self.latents(draws), self.condition(few, draws), producer))
        if made.shape[1:] != columns["images"].shape[1:]:
            raise UserError(
                f"the generator makes {tuple(made.shape[1:])}, and the data are {tuple(columns['images'].shape[1:])}: "
                "choose a model that fits them (model=points for data=ring or grid, text for data=text, "
                "wavegan for data=audio, volumegan for clips and voxels)"
            )
        parts = {f"regularizer.{name}": regularizer for name, regularizer in self.regularizers.items()}
        for name, part in (parts | ({} if self.augment is None else {"augment": self.augment})).items():
            player = getattr(part, "player", "discriminator")
            if player not in self.players:
                raise UserError(f"{name}: it joins the turn of a {player}, and this model has none")
            try:
                part.check_fits(self, columns["images"])
            except ValueError as error:
                raise UserError(f"{name}: {error}") from error

    def regularization(self, player: str, turn: Turn) -> dict[str, Tensor]:
        """The terms of the regularizers that join this player's turn in this iteration."""
        terms = {}
        for name, regularizer in self.regularizers.items():
            joins = regularizer.player == player and turn.iteration % regularizer.every == 0
            if joins and (value := regularizer(turn)) is not None:
                terms[name] = regularizer.weight_at(turn) * regularizer.every * value.mean()
        return terms

    def phase(self, iteration: int, kimg: float) -> Hashable:
        """What of the clock decides which operations an iteration consists of: one that is captured stands for the others
        of its phase.
        """
        return tuple((iteration % r.every == 0, r.phase(iteration, kimg)) for r in self.regularizers.values())

    def reals(self, batch: dict[str, Tensor]) -> Tensor:
        """Reals as the networks see them."""
        return self.scaled(batch["images"])

    def scaled(self, stored: Tensor) -> Tensor:
        """Examples as they are stored -> as the networks see them: images as float in [-1, 1]."""
        return self.modality.scaled(stored)

    def as_data(self, produced: Tensor) -> Tensor:
        """What a producer made, as examples are stored: images as uint8."""
        return self.modality.stored(produced)

    def condition(self, batch: dict[str, Tensor], draws: Draws) -> Tensor | None:
        """What the producer is told about each example, a label or an image; by default nothing."""
        return None

    def latents(self, draws: Draws) -> Tensor | None:
        """The producer's input noise for one batch; by default it has none."""
        return None

    def baselines(self, condition: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """Images (batch, C, height, width) in [-1, 1] beside which those of a game that ``translates`` are shown and
        scored, by name: first what it was given, then what a plain method makes of that.
        """
        raise TypeError(f"{type(self).__name__} does not answer to images")

    def discriminate(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Logits (batch,): high for real."""
        raise TypeError(f"{type(self).__name__} has no discriminator")

    def features(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """What D's logits are read from, (batch, dim)."""
        raise TypeError(f"{type(self).__name__} has no discriminator")

    def judge_features(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """D's logits of its features."""
        raise TypeError(f"{type(self).__name__} has no discriminator")

    def facts(self, producer: nn.Module) -> dict[str, float | str]:
        """What else decides its samples, for the protocol of their scores."""
        return {}

    def own_scores(
        self, batch: dict[str, Tensor], draws: Draws, producer: nn.Module | None = None
    ) -> dict[str, Tensor]:
        """What only this game, with this producer, says of examples, (batch,) by name; asked in evaluation mode, without
        gradient.
        """
        return {}

    def reconstruct(self, batch: dict[str, Tensor], producer: nn.Module | None = None) -> Tensor | None:
        """Reals, encoded and made anew, of a game that encodes; asked in evaluation mode, without gradient."""
        return None

    def traversals(self, latents: Tensor) -> dict[str, list[Tensor]]:
        """Walks along what single numbers of the latents (n, ...) mean: by name, a batch of n latents a step."""
        return {}
