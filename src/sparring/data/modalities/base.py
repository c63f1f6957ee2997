"""The interface of modalities: what examples are, how networks see them, and how a person does."""

from abc import ABC, abstractmethod
from pathlib import Path

from torch import Tensor

from sparring.data.image_grids import tile


class Modality(ABC):
    """How examples are stored, how networks see them, and how a person looks at them.

    Attributes:
        name: of the modality, in the plural.
        ending: suffix of a file of one example.
        has_combined_file: whether ``write_combined`` makes a file of many, next to the picture.
    """

    name: str
    ending: str
    has_combined_file = False

    @abstractmethod
    def scaled(self, stored: Tensor) -> Tensor:
        """Convert stored examples (batch, ...) to what networks see: floats."""

    @abstractmethod
    def stored(self, produced: Tensor) -> Tensor:
        """Convert what a generator produces (batch, ...) to how examples of the data are stored."""

    @abstractmethod
    def seen(self, examples: Tensor) -> Tensor:
        """Convert stored examples (batch, ...) to images uint8 (batch, C, H, W), for classifiers.

        Raises:
            UserError: the modality has no such images.
        """

    def stills(self, examples: Tensor) -> Tensor:
        """Convert stored examples (batch, ...) to images uint8 (batch, 1 or 3, H, W), one each, for a person."""
        return self.seen(examples)

    def picture(self, examples: Tensor, columns: int) -> Tensor:
        """Return one picture (3, H, W) uint8 of stored examples (batch, ...), ``columns`` in a row if possible."""
        return tile(self.stills(examples), columns)

    def save(self, example: Tensor, path: Path) -> None:
        """Write one stored example to a file with the ``ending``."""
        raise TypeError(f"{self.name} are written to one file")

    def write(self, examples: Tensor, folder: Path) -> Path:
        """Write every stored example (batch, ...) to a file of its own below a folder; return the files' folder."""
        for i, example in enumerate(examples.cpu()):
            self.save(example, folder / self.name / f"{i:05d}{self.ending}")
        return folder / self.name

    def write_combined(self, examples: Tensor, path: Path) -> None:
        """Write stored examples (batch, ...) to one file with the ``ending``, to be heard, watched or read."""
        raise TypeError(f"{self.name} have no combined file")
