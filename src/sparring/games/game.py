"""The interface between the engine and what is being trained."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sparring.config.errors import UserError
from sparring.games.players import Players
from sparring.games.turn import Turn
from sparring.randomness import Draws


class Game(Players):
    """Players that take turns, each with a loss of its own.

    The engine lets every player of ``players`` take its turn, in that order: it asks for the ``terms`` of the loss,
    sums them, computes gradients for this player's parameters alone, updates them and calls ``after``. A parameter may
    belong to several players. A new game defines ``players``, ``producer``, ``terms`` and ``produce``; the rest has
    defaults.
    """

    translates = False  # whether the producer's input is an image, so that held-out images are shown and scored
    needs_pairs = False  # whether each image must come with the input that it is made from
    shares_fakes = True  # whether the fakes of one player's turn can be shown in the next (``reuse_fakes``)
    walks = False  # whether near latents make similar examples, so that paths between them mean something
    lower_is_better: tuple[str, ...] = ()  # which of its own scores fall as it gets better
    begins_from = ""  # the model from a run of which it should begin (``init``), if there is one

    @abstractmethod
    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        """Return the loss of this player's turn: named, weighted scalars () that the engine sums and logs.

        Other scalars to be logged go to ``turn.notes``.
        """

    def after(self, player: str, turn: Turn) -> None:
        """Follow a player's update: clip, adapt, remember. Called without gradient."""
        for regularizer in self.regularizers.values():
            if regularizer.player == player:
                regularizer.after(turn)
        if self.augment is not None and player == "discriminator":
            self.augment.after()

    @torch.no_grad()
    def check_fits(self, producer: nn.Module, columns: dict[str, Tensor]) -> None:
        """Check before training that a producer (in evaluation mode), regularizers and augmentation fit the data.

        Raises:
            UserError: naming what does not fit.
        """
        batch = {name: column[:2].cpu() for name, column in columns.items()}
        draws = Draws(("shapes",), len(batch["images"]), slice(0, None))
        fakes = self.as_data(self.produce(self.latents(draws), self.condition(batch, draws), producer))
        if fakes.shape[1:] != columns["images"].shape[1:]:
            raise UserError(
                f"the generator makes {tuple(fakes.shape[1:])}, and the data are {tuple(columns['images'].shape[1:])}: "
                "choose a model that fits them (model=points for data=ring or grid, text for data=text, "
                "wavegan for data=audio, volumegan for clips and voxels)"
            )
        for name, regularizer in self.regularizers.items():
            if regularizer.player not in self.players:
                raise UserError(f"regularizer.{name}: it joins the turn of a {regularizer.player}; this model has none")
            with _naming(f"regularizer.{name}"):
                regularizer.check_fits(self, columns["images"])
        if self.augment is not None:
            with _naming("augment"):
                self.augment.check_fits(columns["images"])

    def baselines(self, condition: Tensor, size: tuple[int, ...]) -> dict[str, Tensor]:
        """Return images (batch, C, height, width) in [-1, 1] to compare those of a game that ``translates`` with.

        By name: first the input, then what a plain method makes of it.
        """
        raise TypeError(f"{type(self).__name__} does not answer to images")

    def facts(self, producer: nn.Module) -> dict[str, float | str]:
        """Return what else decides its samples, for the protocol of their scores."""
        return {}

    def own_scores(
        self, batch: dict[str, Tensor], draws: Draws, producer: nn.Module | None = None
    ) -> dict[str, Tensor]:
        """Return scores (batch,) of examples, by name, that only this game with this producer can give.

        Called in evaluation mode, without gradient.
        """
        return {}

    def reconstruct(self, batch: dict[str, Tensor], producer: nn.Module | None = None) -> Tensor | None:
        """Return reals, encoded and decoded; None if the game has no encoder. Called without gradient."""
        return None

    def traversals(self, latents: Tensor) -> dict[str, list[Tensor]]:
        """Return walks along single numbers of latents (n, ...) that mean something: by name, n latents a step."""
        return {}


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Name the configuration's key in errors."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{key}: {error}") from error
