"""A decoded data set."""

from dataclasses import dataclass

from torch import Tensor

from sparring.data.modalities.base import Modality
from sparring.data.modalities.images import Images


@dataclass(frozen=True)
class Data:
    """A decoded data set.

    Args:
        columns: ``images`` (N, C, H, W) uint8, or examples of another ``modality``; ``labels`` (N,) int64, if any; for
            translation ``inputs`` (M, C', H', W') uint8, what the images are made from.
        key: names the content; equal for equal source, size, crop and files.
        class_names: names of the labels 0, 1, ...
        skipped: number of unreadable images that were left out.
        name: name of the source.
        centres: (modes, dims), of points of a mixture; else None.
        sigma: deviation of each coordinate around its centre.
        paired: whether input i belongs to image i (then M is N).
        aligned: whether the translation of input i may be compared with image i.
        modality: what ``images`` are.
        groups: (N,) int64, equal for rows that are held out together; None: each by itself.
    """

    columns: dict[str, Tensor]
    key: str
    class_names: list[str]
    skipped: int = 0
    name: str = "data"
    centres: Tensor | None = None
    sigma: float = 0.0
    paired: bool = True
    aligned: bool = True
    modality: Modality = Images()
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.columns["images"])
