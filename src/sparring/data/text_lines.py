"""A person's own text, or the embedded one, cut into examples of a fixed number of characters or words."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.modalities import text
from sparring.data.modalities.text import LINE_END, UNKNOWN
from sparring.data.source import Source
from sparring.data.synthetic_sentences import sentences
from sparring.storage.tensor_files import hash_of

log = logging.getLogger(__name__)
SENTENCES = 10_000  # of the embedded text
LETTERS = (
    "L",
    "M",
    "Nd",
    "Nl",
    "Pc",
)  # categories of what a word is made of: letters, their marks, digits, joining signs
JOINERS = "\u200c\u200d"  # invisible, within words of Persian and Indic scripts
DROPPED = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff]")  # control characters and byte order marks


class Text(Source):
    """Units of a text as their places in a vocabulary, (length,) each: lines, or consecutive windows.

    Runs of blanks and of empty lines count as one. Letters are composed with their marks where Unicode can (NFC).

    Args:
        path: a UTF-8 file, or a folder whose .txt files are read; None for the embedded text (``fables``).
        unit: ``character`` or ``word``; punctuation marks and line ends are words.
        length: units of an example.
        lines: an example is a line of at most ``length`` units, filled up with line ends. Else an example is ``length``
            consecutive units from the beginning of a word on. Either way examples don't overlap, and none comes twice.
        vocabulary_size: number of different units, the most frequent; all others become one, the unknown.
        vocabulary: that of a stored run, as in ``facts``; None to make it from the text.
        channels: filled in: the size of the vocabulary.

    Raises:
        UserError: the file is missing, is no text, or is too short.
    """

    modality = "text"

    def __init__(
        self,
        path: str | None = None,
        unit: Literal["character", "word"] = "word",
        length: Annotated[int, Field(ge=2, le=10**7)] = 16,
        lines: bool = True,
        vocabulary_size: Annotated[int, Field(ge=1, le=32_767)] = 2000,
        vocabulary: str | None = None,
        image_size: Literal[1] = 1,
        channels: int = 0,
    ):
        self.path = None if path is None else Path(path).expanduser()
        self.unit: Literal["character", "word"] = unit
        self.length, self.lines = length, lines
        self.vocabulary_size, self.stored_vocabulary = vocabulary_size, vocabulary
        super().__init__(1, len(self.kind.symbols))

    @property
    def name(self) -> str:
        return "fables" if self.path is None else self.path.stem

    @cached_property
    def vocabulary(self) -> str:
        """The units in a row, the unknown first; characters in an order that never spells ``${``."""
        if self.stored_vocabulary is not None:
            return self.stored_vocabulary
        unknown = UNKNOWN[self.unit]
        counts = Counter(self._units)
        counts.pop(unknown, None)
        counts[LINE_END] = counts.total() + 1  # always in it
        frequent = sorted(counts, key=lambda unit: (-counts[unit], unit))[: self.vocabulary_size]
        if self.unit == "character":
            return "".join(sorted([*frequent, unknown], reverse=True))
        return " ".join([unknown, *frequent])

    @cached_property
    def kind(self) -> text.Text:
        return text.Text(self.vocabulary, self.unit, self.lines)

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {"vocabulary": self.vocabulary}

    def drawn(self) -> Data:
        unknown = self.kind.place[UNKNOWN[self.unit]]
        places = np.fromiter((self.kind.place.get(unit, unknown) for unit in self._units), np.int64)
        rows, longer = self._cut_lines(places) if self.lines else (self._cut_windows(places), 0)
        first = np.sort(np.unique(rows, axis=0, return_index=True)[1]) if len(rows) else []
        if len(first) < 2:
            raise UserError(
                f"data.path={self.path}: too short a text: {len(self._units):,} {self.unit}s, of which "
                f"data.length={self.length} data.lines={str(self.lines).lower()} makes {len(first)} examples"
            )
        if longer or len(first) < len(rows):
            kind = f"lines of at most {self.length} {self.unit}s (data.length)" if self.lines else "windows"
            left_out = f"{longer:,} longer ones, {len(rows) - len(first):,} repetitions"
            log.info("%s: %s %s; left out: %s", self.name, f"{len(first):,}", kind, left_out)
        if self.stored_vocabulary is not None and (share := (places == unknown).mean()):
            log.info("%s: %.2g%% of its %ss are not in data.vocabulary", self.name, 100 * share, self.unit)
        tokens = torch.from_numpy(rows[first]).to(self.kind.dtype)
        return Data({"images": tokens}, hash_of({"tokens": tokens}), [], name=self.name, modality=self.kind)

    def _cut_lines(self, places: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the lines that are short enough, (N, length), and the number of longer ones."""
        end = self.kind.place[LINE_END]
        ends = np.flatnonzero(np.append(places, end) == end)
        begins = np.append(0, ends[:-1] + 1)
        fit = (begins < ends) & (ends - begins <= self.length)
        at = begins[fit, None] + np.arange(self.length)
        rows = np.where(at < ends[fit, None], places[np.minimum(at, len(places) - 1)], end)
        return rows, int((ends - begins > self.length).sum())

    def _cut_windows(self, places: np.ndarray) -> np.ndarray:
        """Return consecutive windows, (N, length)."""
        blank = np.isin(places, [place for symbol, place in self.kind.place.items() if symbol.isspace()])
        begins = ~blank & (np.append(True, blank[:-1]) | (self.unit == "word"))
        count, begin, windows = len(places), 0, []
        after = np.minimum.accumulate(np.where(begins, np.arange(count), count)[::-1])[::-1]  # the next beginning
        while begin < count and (begin := int(after[begin])) + self.length <= count:
            windows.append(begin)
            begin += self.length
        return places[np.array(windows, dtype=np.int64)[:, None] + np.arange(self.length)]

    @cached_property
    def _units(self) -> Sequence[str]:
        text = unicodedata.normalize("NFC", DROPPED.sub("", self._read()))
        text = re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()
        if not text:
            raise UserError(f"data.path={self.path}: there is no text in it")
        return text if self.unit == "character" else split_words(text)

    def _read(self) -> str:
        if self.path is None:
            return "\n".join(sentences(SENTENCES))
        if not self.path.exists():
            raise UserError(f"data.path={self.path}: no such file or folder; null for the embedded text")
        files = sorted(self.path.rglob("*.txt")) if self.path.is_dir() else [self.path]
        if not files:
            raise UserError(f"data.path={self.path}: no .txt in it or below it")
        return "\n".join(map(_decode, files))


def split_words(text: str) -> list[str]:
    """Split a text into words, with hyphens and apostrophes inside them, line ends, and single other signs."""
    signs = (sign for sign in set(text) if sign != "_" and unicodedata.category(sign).startswith(LETTERS))
    letters = f"[{re.escape(''.join(signs))}{JOINERS}]+"
    return re.findall(rf"\n|{letters}(?:['’-]{letters})*|\S", text)


def _decode(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"data.path={file}: is no text of UTF-8 (byte {error.start:,}: {error.reason}); convert it: iconv -t UTF-8"
        ) from error
