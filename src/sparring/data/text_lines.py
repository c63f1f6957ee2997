"""A person's own text, or the embedded one, cut into examples of so many characters or words."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import regex
import torch
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.modalities import text
from sparring.data.modalities.text import LINE_END, UNKNOWN
from sparring.data.source import Example, Source
from sparring.data.synthetic_sentences import sentences
from sparring.storage.tensor_files import hash_of

log = logging.getLogger(__name__)
SENTENCES = 10_000  # of the embedded text
# to `regex`, other than to `re`, marks above and below a letter are of its word
WORD = regex.compile(r"\n|[^\W_]+(?:['’-][^\W_]+)*|\S")  # words with what is inside them, other signs one by one
NO_LETTERS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff]")  # control characters, and the marks of byte orders


class Text(Source):
    """Units of a text as their places in a vocabulary, (length,) each: lines, or what comes after each other.

    Blanks and empty lines in a row count as one. Letters are composed with their marks where Unicode has them so (NFC).

    Args:
        path: a file of UTF-8, or a folder, of which every .txt is read; None for the embedded text (``fables``).
        unit: ``character`` or ``word``; marks and line ends are words.
        length: units of an example.
        lines: each line that is no longer is an example, shorter ones end in line ends; one that comes again is left out.
            Else examples are ``length`` units each, one after the other, each from the beginning of a word on. Either way
            no two share a place in the text, and none is there twice.
        vocabulary_size: how many different units are kept, the most frequent; all others are one, the unknown.
        vocabulary: that of a stored run, as ``facts`` has it.
        image_size, channels: nothing is decided by them: 1, and the size of the vocabulary.

    Raises:
        UserError: there is no such file, it is no text, or too short a one.
    """

    modality = "text"

    def __init__(
        self,
        path: str | None = None,
        unit: Literal["character", "word"] = "word",
        length: int = 16,
        lines: bool = True,
        vocabulary_size: int = 2000,
        vocabulary: str | None = None,
        image_size: Literal[1] = 1,
        channels: int = 0,
    ):
        if length < 2:
            raise ValueError(f"length={length}: an example has at least 2 units")
        self.path = None if path is None else Path(path).expanduser()
        self.unit, self.length, self.lines = unit, length, lines
        self.vocabulary_size, self._given = vocabulary_size, vocabulary
        self.class_names, self.image_size = [], 1

    @property
    def name(self) -> str:
        return "fables" if self.path is None else self.path.stem

    @cached_property
    def vocabulary(self) -> str:
        """The units in a row, the unknown first. Of characters in an order in which no ``${`` comes up."""
        if self._given is not None:
            return self._given
        unknown = UNKNOWN[self.unit]
        counts = Counter(self._units)
        counts.pop(unknown, None)
        counts[LINE_END] = counts.total() + 1  # it is always needed
        kept = sorted(counts, key=lambda unit: (-counts[unit], unit))[: self.vocabulary_size]
        if self.unit == "character":
            return "".join(sorted([*kept, unknown], reverse=True))
        return " ".join([unknown, *kept])

    @cached_property
    def kind(self) -> text.Text:
        return text.Text(self.vocabulary, self.unit, self.lines)

    @property
    def channels(self) -> int:
        """Numbers of a unit, as networks see it."""
        return len(self.kind.symbols)

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {"vocabulary": self.vocabulary}

    def identity(self) -> dict:
        return {"tokens": hash_of({"tokens": self._examples})}

    def __len__(self) -> int:
        return len(self._examples)

    def __iter__(self) -> Iterator[Example]:
        yield from ((row, -1) for row in self._examples.numpy())

    def drawn(self) -> Data:
        images = self._examples
        return Data({"images": images}, hash_of({"tokens": images}), [], name=self.name, modality=self.kind)

    @cached_property
    def _examples(self) -> Tensor:
        """What is left of the text, (N, length); what is left out is told."""
        kind, left = self.kind, []
        unknown = kind.place[UNKNOWN[self.unit]]
        places = np.fromiter((kind.place.get(unit, unknown) for unit in self._units), np.int64)
        rows, longer = self._lines(places, kind.place[LINE_END]) if self.lines else (self._windows(places), 0)
        first = np.sort(np.unique(rows, axis=0, return_index=True)[1]) if len(rows) else []
        left += [f"{longer:,} are longer"] * (longer > 0)
        left += [f"{len(rows) - len(first):,} come again"] * (len(first) < len(rows))
        rows = rows[first]
        if len(rows) < 2:
            raise UserError(
                f"data.path={self.path}: too short a text: {len(self._units):,} {self.unit}s, of which data.length={self.length} "
                f"data.lines={str(self.lines).lower()} makes {len(rows)} examples"
            )
        if left:
            what = f"lines of at most {self.length} {self.unit}s (data.length)" if self.lines else "pieces"
            log.info("%s: %s %s are the examples; %s, and left out", self.name, f"{len(rows):,}", what, ", ".join(left))
        if self._given is not None and (share := (places == unknown).mean()):
            log.info("%s: %.2g%% of its %ss are not in data.vocabulary", self.name, 100 * share, self.unit)
        return torch.from_numpy(rows).to(kind.dtype)

    def _lines(self, places: np.ndarray, end: int) -> tuple[np.ndarray, int]:
        """The lines that are short enough, (N, length), and how many are not."""
        ends = np.flatnonzero(np.append(places, end) == end)
        begins = np.append(0, ends[:-1] + 1)
        fit = (begins < ends) & (ends - begins <= self.length)
        at = begins[fit, None] + np.arange(self.length)
        rows = np.where(at < ends[fit, None], places[np.minimum(at, len(places) - 1)], end)
        return rows, int((ends - begins > self.length).sum())

    def _windows(self, places: np.ndarray) -> np.ndarray:
        """What comes after each other, (N, length)."""
        blank = np.isin(places, [place for symbol, place in self.kind.place.items() if symbol.isspace()])
        begins = ~blank & (np.append(True, blank[:-1]) | (self.unit == "word"))
        count, begin, found = len(places), 0, []
        after = np.minimum.accumulate(np.where(begins, np.arange(count), count)[::-1])[::-1]  # the next beginning
        while begin < count and (begin := int(after[begin])) + self.length <= count:
            found.append(begin)
            begin += self.length
        return places[np.array(found, dtype=np.int64)[:, None] + np.arange(self.length)]

    @cached_property
    def _units(self) -> Sequence[str]:
        text = unicodedata.normalize("NFC", NO_LETTERS.sub("", self._read()))
        text = re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()
        if not text:
            raise UserError(f"data.path={self.path}: there is no text in it")
        return text if self.unit == "character" else WORD.findall(text)

    def _read(self) -> str:
        if self.path is None:
            return "\n".join(sentences(SENTENCES))
        if not self.path.exists():
            raise UserError(f"data.path={self.path}: no such file or folder; null for the embedded text")
        files = sorted(self.path.rglob("*.txt")) if self.path.is_dir() else [self.path]
        if not files:
            raise UserError(f"data.path={self.path}: no .txt in it or below it")
        return "\n".join(map(_decoded, files))


def _decoded(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"data.path={file}: is no text of UTF-8 (byte {error.start:,}: {error.reason}); convert it: iconv -t UTF-8"
        ) from error
