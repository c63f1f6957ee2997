"""The players of a game: their networks, and how data, latents and images pass through them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from sparring.augment.base import Augment
from sparring.data.modalities.base import Modality
from sparring.data.modalities.images import Images
from sparring.randomness import Draws
from sparring.regularizers.base import Regularizer


class Players(nn.Module, ABC):
    """What a turn is made of: networks, regularizers, an augmentation.

    Args:
        regularizers: by name; each joins the turns of its player.
        augment: changes what the discriminator sees.
    """

    conditional = False  # whether the players are given a class label
    draws_reals: frozenset[str] = frozenset({"discriminator"})  # the players that are given reals, the first among them
    reads_features = False  # whether anything but D's logits is read from D's features
    latent_dim: int | None = None  # length of the generator's latents, of games that have such
    judge_pairs = False  # whether D sees the condition next to the image
    modality: Modality = Images()  # what is made; the data decide
    regularizers: Mapping[str, Regularizer]

    def __init__(self, regularizers: Mapping[str, Regularizer] | None = None, augment: Augment | None = None):
        super().__init__()
        self.regularizers = nn.ModuleDict(regularizers)  # pyright: ignore[reportAttributeAccessIssue]
        self.augment = augment
        self.compiled = False

    @property
    @abstractmethod
    def players(self) -> dict[str, list[nn.Module]]:
        """The networks that each player trains, in turn order; the first may have several turns (``n_dis``)."""

    @property
    @abstractmethod
    def producer(self) -> nn.Module:
        """The network whose running average is shown and scored."""

    @abstractmethod
    def produce(
        self, latents: Tensor | None, condition: Tensor | None = None, producer: nn.Module | None = None
    ) -> Tensor:
        """Return generated examples (batch, ...), images in [-1, 1].

        Args:
            latents: (batch, ...), as ``latents`` draws them; None for a game without.
            condition: what ``condition`` returns, (batch, ...).
            producer: stands in for the game's own, as its average does.
        """

    def compile_networks(self) -> None:
        """Compile the players' networks in place. What is differentiated twice runs ``uncompiled``."""
        for network in dict.fromkeys(network for networks in self.players.values() for network in networks):
            network.compile(dynamic=False)
        self.compiled = True

    def uncompiled(self) -> AbstractContextManager:
        """Run networks eagerly: compiled ones have no second derivative (pytorch#91469)."""
        return torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()

    def reals(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the reals of a batch of columns as the networks see them."""
        return self.scaled(batch["images"])

    def scaled(self, stored: Tensor) -> Tensor:
        """Convert examples as they are stored to what the networks see: images to float in [-1, 1]."""
        return self.modality.scaled(stored)

    def as_data(self, produced: Tensor) -> Tensor:
        """Convert what a producer made to examples as they are stored: images to uint8."""
        return self.modality.stored(produced)

    def condition(self, batch: dict[str, Tensor], draws: Draws) -> Tensor | None:
        """Return what the producer is given about each example: labels (batch,), images, or nothing."""
        return None

    def latents(self, draws: Draws) -> Tensor | None:
        """Return the producer's input noise (batch, ...), or None if it has none."""
        return None

    def discriminate(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return D's logits (batch,) of examples: high for real."""
        raise TypeError(f"{type(self).__name__} has no discriminator")

    def features(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return what D's logits are read from, (batch, dim)."""
        raise TypeError(f"{type(self).__name__} has no discriminator")

    def judge_features(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return D's logits (batch,) of its features (batch, dim)."""
        raise TypeError(f"{type(self).__name__} has no discriminator")
