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
from sparring.evaluation.features import RealFeatures

Count = Annotated[int, Field(ge=1, le=10_000)]  # of neighbours, splits, examples in a picture
SampleCount = Annotated[int, Field(ge=1, le=10_000_000)]
StepCount = Annotated[int, Field(ge=1, le=1_000_000)]  # of batches, subsets
OTHER_NAMES = {"fid": "fd", "kid": "kd", "mifid": "mifd", "intra_fid": "intra_fd"}  # in features other than Inception's


@dataclass(frozen=True)
class Comparison:
    """The two sets to be compared."""

    reals: RealFeatures  # the reals and their features
    count: int  # number of fakes
    extractor: str  # its name
    dims: int  # D, the length of a feature; 0 without features
    classes: int  # number of logits; 0 without a classifier head
    device: torch.device  # where features are computed
    modality: Modality = Images()  # of both sets


class Metric(ABC):
    """One or a few scores. Call ``begin``, then ``add`` with every batch of fakes, then ``scores``.

    Each rank adds its own batches; the evaluator then sums the tensors in ``sums`` over the ranks, in place. So a
    tensor holds totals, or a row for each fake, where the rows of other ranks stay zero.
    """

    needs_features = True  # an extractor with ``dims`` above 0
    needs_logits = False  # an extractor with a classifier head
    needs_labels = False  # the classes of fakes and reals
    needs_targets = False  # what each fake was to be; without targets the metric is left out silently
    builds_on_others = False  # is scored last, because it reads other metrics' scores
    modalities: Sequence[str] = ()  # names of the modalities that it scores; empty for any
    data_name = ""  # name of the only data set that it scores; empty for any
    score_names: Mapping[str, bool] = {}  # in Inception's features, each with whether lower is better
    sums: list[Tensor]  # its state, set by ``begin``

    def names(self, extractor: str) -> dict[str, bool]:
        """Return the names of its scores in an extractor's features, each with whether lower is better."""
        return {score_name(name, extractor): lower for name, lower in self.score_names.items()}

    def unavailable(self, image_size: tuple[int, ...]) -> str | None:
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
        """Add a batch of fakes to the state."""

    @abstractmethod
    def scores(self, others: dict[str, float]) -> dict[str, float]:
        """Return its scores by name, given those of the metrics before it."""

    def protocol(self) -> dict[str, float | str]:
        """Return the settings that its scores depend on. Called after ``begin``."""
        return {}

    def pictures(self) -> dict[str, Tensor]:
        """Return pictures (3, H, W) uint8 by name. Called after ``scores``."""
        return {}


class FeaturesMetric(Metric):
    """A metric that stores the features of chosen fakes, ``features`` (K, D) float32."""

    def store(self, rows: Tensor, comparison: Comparison) -> None:
        """Reset the state to the features of these fakes, (K,) int64, ascending."""
        self.positions = torch.full((comparison.count,), -1)
        self.positions[rows] = torch.arange(len(rows))
        self.features = torch.zeros(len(rows), comparison.dims, device=comparison.device)
        self.sums = [self.features]

    def add(self, batch: Batch) -> None:
        positions = self.positions[batch.rows]
        chosen = positions >= 0
        self.features[positions[chosen].to(self.features.device)] = batch.values[chosen.to(batch.values.device)]

    def features_of(self, rows: Tensor) -> Tensor:
        """Return the features (n, D) of n of the stored fakes, by their rows in the set."""
        return self.features[self.positions[rows].to(self.features.device)]


def score_name(name: str, extractor: str) -> str:
    """Return a score's name in an extractor's features: FID, KID and the like are those of Inception alone."""
    return f"{OTHER_NAMES[name]}_{extractor}" if name in OTHER_NAMES and extractor != "inception" else name


def store_first(storage: Tensor, rows: Tensor, values: Tensor) -> None:
    """Write values (batch, ...) to their rows of ``storage`` (N, ...); rows beyond it are left out."""
    chosen = rows < len(storage)
    storage[rows[chosen].to(storage.device)] = values[chosen.to(values.device)].to(storage)
