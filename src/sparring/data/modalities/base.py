"""What examples are, whatever is done with them: images, points, text, sound, clips."""

from abc import ABC, abstractmethod
from pathlib import Path

from torch import Tensor

from sparring.data.image_grids import tile


class Modality(ABC):
    """How examples are stored, how networks see them, and how a person looks at them.

    Attributes:
        name: of the modality, in the plural.
        ending: of a file that holds one example.
        has_combined_file: whether ``write_combined`` makes a file of many, beside the picture.
    """

    name: str
    ending: str
    has_combined_file = False

    @abstractmethod
    def scaled(self, stored: Tensor) -> Tensor:
        """Stored examples (batch, ...) as networks see them: floats."""

    @abstractmethod
    def stored(self, produced: Tensor) -> Tensor:
        """What a generator made (batch, ...), as examples of the data are stored."""

    @abstractmethod
    def seen(self, examples: Tensor) -> Tensor:
        """Stored examples (batch, ...) as images uint8 (batch, C, H, W) from which a classifier tells them apart.

        Raises:
            UserError: nothing of this kind is.
        """

    def stills(self, examples: Tensor) -> Tensor:
        """Stored examples (batch, ...) as images uint8 (batch, 1 or 3, H, W), one each, for a person."""
        return self.seen(examples)

    def picture(self, examples: Tensor, columns: int) -> Tensor:
        """One picture (3, H, W) uint8 of stored examples (batch, ...), ``columns`` in a row where that is possible."""
        return tile(self.stills(examples), columns)

    def save(self, example: Tensor, path: Path) -> None:
        """Write one stored example to a file, whose name has the ``ending``."""
        raise TypeError(f"{self.name} lie in one file")

    def write(self, examples: Tensor, folder: Path) -> Path:
        """Write every stored example (batch, ...) to a file of its own below a folder; return where they lie."""
        for i, example in enumerate(examples.cpu()):
            self.save(example, folder / self.name / f"{i:05d}{self.ending}")
        return folder / self.name

    def write_combined(self, examples: Tensor, path: Path) -> None:
        """Write stored examples (batch, ...) into one file with the ``ending``, to be heard, watched or read."""
        raise TypeError(f"{self.name} are looked at as pictures")
