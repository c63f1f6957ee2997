"""Text: a fixed number of characters or words."""

import re
from pathlib import Path
from typing import Literal

import torch
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.functional import pil_to_tensor

from sparring.config.errors import UserError
from sparring.data.modalities.base import Modality
from sparring.storage.files import atomic_write

UNKNOWN = {"character": "\N{REPLACEMENT CHARACTER}", "word": "<unk>"}  # stands for all that is not in the vocabulary
LINE_END, SHOWN = "\n", "⏎"
PICTURED = 64  # lines in a picture: more are read in the file
FONT = Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf")  # Latin, Greek, Cyrillic and more; Pillow's has few letters


class Text(Modality):
    """Places in a vocabulary (length,), uint8 or int16; networks see one-hot codes (length, V).

    Args:
        vocabulary: V characters in a row, or V words with blanks between them.
        unit: ``character`` or ``word``.
        lines: an example ends with its first line end; what follows is ignored.

    Raises:
        UserError: the vocabulary lacks the unknown or the line end.
    """

    name, ending, has_combined_file = "text", ".txt", True

    def __init__(self, vocabulary: str, unit: Literal["character", "word"] = "word", lines: bool = False):
        self.symbols = list(vocabulary) if unit == "character" else vocabulary.split(" ")
        self.unit, self.lines = unit, lines
        self.place = {symbol: place for place, symbol in enumerate(self.symbols)}
        if missing := {UNKNOWN[unit], LINE_END} - self.place.keys():
            raise UserError(
                f"data.vocabulary: lacks {' and '.join(map(repr, sorted(missing)))}, which every one of {unit}s has; "
                "null makes one from the data"
            )
        self.dtype = torch.uint8 if len(self.symbols) <= 256 else torch.int16

    def scaled(self, stored: Tensor) -> Tensor:
        places = stored.long().unsqueeze(-1)
        return torch.zeros(*stored.shape, len(self.symbols), device=stored.device).scatter_(-1, places, 1)

    def stored(self, produced: Tensor) -> Tensor:
        return produced.argmax(-1).to(self.dtype)

    def seen(self, examples: Tensor) -> Tensor:
        raise UserError("these data are text, which only evaluation=text can score (or evaluation=none)")

    def counting(self, examples: Tensor) -> Tensor:
        """Return which units (batch, length) of stored examples count: all, or up to and with the first line end."""
        if not self.lines:
            return torch.ones_like(examples, dtype=torch.bool)
        ends = (examples == self.place[LINE_END]).cumsum(1)
        return pad(ends[:, :-1], (1, 0)) == 0

    def units(self, examples: Tensor) -> list[list[str]]:
        """Return the characters or words of stored examples (batch, length) that count."""
        examples = examples.cpu()
        lengths = self.counting(examples).sum(1).tolist()
        rows = zip(examples.tolist(), lengths, strict=True)
        return [[self.symbols[place] for place in row[:length]] for row, length in rows]

    def texts(self, examples: Tensor) -> list[str]:
        """Return stored examples (batch, length) as a person reads them; lines without their ends."""
        return [
            self._joined(units[:-1] if self.lines and units[-1] == LINE_END else units)
            for units in self.units(examples)
        ]

    def _joined(self, units: list[str]) -> str:
        if self.unit == "character":
            return "".join(units)
        return re.sub(r" (?=[,.;:!?)\]\n])|(?<=[(\[\n]) ", "", " ".join(units))

    def picture(self, examples: Tensor, columns: int) -> Tensor:
        """Return one picture, an example a line, black on white."""
        shown = [text.replace(LINE_END, SHOWN) for text in self.texts(examples[:PICTURED])]
        font = ImageFont.truetype(FONT, 16)
        width = max(int(font.getlength(text)) for text in shown)
        picture = Image.new("RGB", (max(width, 1) + 16, 22 * len(shown) + 12), "white")
        draw = ImageDraw.Draw(picture)
        for i, text in enumerate(shown):
            draw.text((8, 22 * i + 6), text, fill="black", font=font)
        return pil_to_tensor(picture)

    def write(self, examples: Tensor, folder: Path) -> Path:
        """Write all to one file."""
        self.write_combined(examples, path := folder / f"grid{self.ending}")
        return path

    def write_combined(self, examples: Tensor, path: Path) -> None:
        """Write an example a line; line ends within it are shown as ⏎."""
        with atomic_write(path) as temporary:
            temporary.write_text(
                "".join(f"{text.replace(LINE_END, SHOWN)}\n" for text in self.texts(examples)), "utf-8"
            )
