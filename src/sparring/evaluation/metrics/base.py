"""What a metric is: sums over the fakes, from which scores are worked out beside the reals."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparring.data.modalities.base import Modality
from sparring.data.modalities.images import Images
from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.features import RealFeatures


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Args:
        reals: the reals, with all their features.
        count: number of fakes.
        extractor: its name.
        dims: D, the length of a feature; 0 without features.
        classes: number of logits, 0 without a head.
        device: on which features arrive.
        modality: what both are.
    """

    reals: RealFeatures
    count: int
    extractor: str
    dims: int
    classes: int
    device: torch.device
    modality: Modality = Images()


class Metric(ABC):
    """One or a few scores. ``begin``, then ``add`` every batch of fakes, then ``scores``.

    Under many ranks each rank adds the batches of its share. What a metric keeps of them are tensors that add up
    (rows of other ranks stay zero), so summing ``sums`` over the ranks gives each of them what one alone would have.

    Attributes:
        needs_features: it can't be computed with an extractor that makes none (``dims`` 0).
        needs_logits: it can't be computed without the extractor's classifier head.
        needs_labels: it can't be computed unless the fakes' and the reals' classes are known.
        needs_targets: it compares fakes with what each was to be, and means nothing of fakes of which that is not known.
        builds_on_others: its scores are asked for last.
        takes: the modalities of which it can be computed; of any, if it names none.
        of: the name of the data whose score it is; of any, if empty.
    """

    needs_features = True
    needs_logits = False
    needs_labels = False
    needs_targets = False
    builds_on_others = False
    takes: Sequence[str] = ()
    of = ""

    @abstractmethod
    def names(self, extractor: str) -> dict[str, bool]:
        """The names of its scores in the features of an extractor, each with whether lower is better."""

    def unavailable(self, image_size: tuple[int, int]) -> str | None:
        """Why it can't be computed here of images of a height and width; None if it can. Asked before anything is scored.

        Raises:
            UserError: something that it was explicitly given is wrong.
        """
        return None

    @abstractmethod
    def begin(self, comparison: Comparison) -> None:
        """Forget everything and get ready for a set of fakes."""

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Take in some fakes."""

    @property
    @abstractmethod
    def sums(self) -> list[Tensor]:
        """What was kept, to be summed over the ranks in place."""

    @abstractmethod
    def scores(self, found: dict[str, float]) -> dict[str, float]:
        """Its scores by name; ``found`` are those of the other metrics so far."""

    def protocol(self) -> dict[str, float | str]:
        """What its numbers depend on besides the features. Called after ``begin``."""
        return {}

    def pictures(self) -> dict[str, Tensor]:
        """Pictures (3, H, W) uint8 by name. Called after ``scores``."""
        return {}


def score_name(extractor: str, for_inception: str, otherwise: str) -> str:
    """The literature's name of a score belongs to Inception's features; in others it carries the extractor's."""
    return for_inception if extractor == "inception" else f"{otherwise}_{extractor}"


class Rows:
    """The features of chosen images of a set, each put in its place as it comes.

    Args:
        rows: (K,) int64, which images, ascending.
        comparison: of the set.
    """

    def __init__(self, rows: Tensor, comparison: Comparison):
        self.place = torch.full((comparison.count,), -1)
        self.place[rows] = torch.arange(len(rows))
        self.values = torch.zeros(len(rows), comparison.dims, device=comparison.device)

    def add(self, batch: Batch) -> None:
        place = self.place[batch.rows]
        self.values[place[place >= 0].to(self.values.device)] = batch.values[(place >= 0).to(batch.values.device)]

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.values[self.place[rows].to(self.values.device)]


class RowsMetric(Metric):
    """A metric of which the features of chosen fakes are all that is kept: ``begin`` sets ``fakes``."""

    fakes: Rows

    def add(self, batch: Batch) -> None:
        self.fakes.add(batch)

    @property
    def sums(self) -> list[Tensor]:
        return [self.fakes.values]
