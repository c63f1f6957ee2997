"""A decoded data set."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from sparring.data.modalities.base import Modality
from sparring.data.modalities.images import Images

if TYPE_CHECKING:
    from sparring.data.mixture import Mixture


@dataclass(frozen=True)
class Data:
    """A decoded data set.

    Args:
        columns: ``images`` (N, C, H, W) uint8, or examples of another ``modality``; ``labels`` (N,) int64 if there are any; of
            data for translation ``inputs`` (M, C', H', W') uint8, what images are made from.
        key: names the content; equal for equal source, size, crop and files.
        class_names: of the labels.
        skipped: unreadable images that were left out.
        name: of the source.
        mixture: of points: what they were drawn from.
        aligned: whether answers to inputs may be compared with the images of the same rows.
        paired: whether input i belongs to image i (then M is N), or inputs and images have nothing but their kind in common.
        modality: what ``images`` are.
        groups: (N,) int64, equal for rows that are held out together or not at all; None where each is by itself.
    """

    columns: dict[str, Tensor]
    key: str
    class_names: list[str]
    skipped: int = 0
    name: str = "data"
    mixture: "Mixture | None" = None
    paired: bool = True
    aligned: bool = True
    modality: Modality = Images()
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.columns["images"])
