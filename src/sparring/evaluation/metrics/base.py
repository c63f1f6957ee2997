"""The interface of metrics: sums over the fakes, from which scores are computed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from sparring.data.modalities.base import Modality
from sparring.data.modalities.images import Images
from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.features import Reference

Count = Annotated[int, Field(ge=1, le=10_000)]  # of neighbours, splits, examples in a picture
SampleCount = Annotated[int, Field(ge=1, le=10_000_000)]
StepCount = Annotated[int, Field(ge=1, le=1_000_000)]  # of batches, subsets


@dataclass(frozen=True)
class Comparison:
    """Two sets to be compared.

    Args:
        reals: the reals and their features.
        count: number of fakes.
        extractor: its name.
        dims: D, the length of a feature; 0 without features.
        classes: number of logits; 0 without a classifier head.
        device: where features are computed.
        modality: of both sets.
    """

    reals: Reference
    count: int
    extractor: str
    dims: int
    classes: int
    device: torch.device
    modality: Modality = Images()


class Metric(ABC):
    """One or a few scores. Call ``begin``, then ``add`` with every batch of fakes, then ``scores``.

    Each rank adds its own batches. The state is a list of tensors, ``sums``, which the evaluator sums over the ranks
    before it calls ``scores``: statistics add up, and rows of other ranks stay zero.

    Attributes:
        needs_features: requires an extractor that makes features (``dims`` above 0).
        needs_logits: requires an extractor with a classifier head.
        needs_labels: requires the classes of fakes and reals.
        needs_targets: compares each fake with its target, and is skipped where there are none.
        builds_on_others: is scored last, because it reads other metrics' scores.
        modalities: names of the modalities that it scores; empty for any.
        data_name: name of the only data set that it scores; empty for any.
    """

    needs_features = True
    needs_logits = False
    needs_labels = False
    needs_targets = False
    builds_on_others = False
    modalities: Sequence[str] = ()
    data_name = ""

    @abstractmethod
    def names(self, extractor: str) -> dict[str, bool]:
        """Return the names of its scores in an extractor's features, each with whether lower is better."""

    def unavailable(self, image_size: tuple[int, int]) -> str | None:
        """Return why images of this height and width can't be scored, or None. Called before anything is scored.

        Raises:
            UserError: a file that the user named can't be used.
        """
        return None

    @abstractmethod
    def begin(self, comparison: Comparison) -> None:
        """Reset the state for a new set of fakes."""

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Update the state with a batch of fakes."""

    @property
    @abstractmethod
    def sums(self) -> list[Tensor]:
        """The state, to be summed over the ranks in place."""

    @abstractmethod
    def scores(self, others: Mapping[str, float]) -> dict[str, float]:
        """Return its scores by name, given those of the metrics before it."""

    def protocol(self) -> dict[str, float | str]:
        """Return the settings that decide its scores, next to the features. Called after ``begin``."""
        return {}

    def pictures(self) -> dict[str, Tensor]:
        """Return pictures (3, H, W) uint8 by name. Called after ``scores``."""
        return {}


def score_name(extractor: str, inception_name: str, other_name: str) -> str:
    """Return the literature's name of a score in Inception's features, ``<other_name>_<extractor>`` in others."""
    return inception_name if extractor == "inception" else f"{other_name}_{extractor}"


def store_first(storage: Tensor, rows: Tensor, values: Tensor) -> None:
    """Write each of ``values`` (batch, ...) to its row of ``storage`` (N, ...), where that row is below N."""
    chosen = rows < len(storage)
    storage[rows[chosen].to(storage.device)] = values[chosen.to(values.device)].to(storage)


class Rows:
    """The features of chosen images of a set.

    Args:
        rows: (K,) int64, the chosen images, ascending.
        comparison: what the set is part of.

    Attributes:
        values: (K, D) float32.
    """

    def __init__(self, rows: Tensor, comparison: Comparison):
        self.positions = torch.full((comparison.count,), -1)
        self.positions[rows] = torch.arange(len(rows))
        self.values = torch.zeros(len(rows), comparison.dims, device=comparison.device)

    def add(self, batch: Batch) -> None:
        positions = self.positions[batch.rows]
        chosen = positions >= 0
        self.values[positions[chosen].to(self.values.device)] = batch.values[chosen.to(batch.values.device)]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the features (n, D) of n of the chosen images, given by their rows in the set."""
        return self.values[self.positions[rows].to(self.values.device)]


class RowsMetric(Metric):
    """A metric of the features of chosen fakes: ``begin`` sets ``fakes``."""

    fakes: Rows

    def add(self, batch: Batch) -> None:
        self.fakes.add(batch)

    @property
    def sums(self) -> list[Tensor]:
        return [self.fakes.values]
