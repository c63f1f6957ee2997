"""Scores as a table: a row for each run, or one for each combination of what was varied, over its seeds."""

import csv
import io
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sparring.compare import protocols
from sparring.compare.records import Record
from sparring.config.redaction import escape_control_characters
from sparring.runs.console import better_direction

NOT_VARIED = re.compile(r"[~+]*(hydra|logger|task|cache|resume|run|sweep|seed)\b")  # overrides that are not compared
DETAIL = re.compile(r"_(low|high|sd|std|\d+)$")  # scores that belong to another: intervals, single classes
ARROWS = {"lower is better": " ↓", "higher is better": " ↑"}
FACTS = {  # by their names in a CSV file: the heading, and how a value is written
    "state": ("state", str),
    "seeds": ("seeds", str),
    "kimg": ("kimg", lambda kimg: f"{kimg:.4g}"),
    "seconds": ("wall time", lambda seconds: duration(seconds)),
    "images_per_second": ("images/s", lambda rate: f"{rate:,.0f}"),
    "device": ("device", str),
}


@dataclass
class Cell:
    """A score of the runs in a row."""

    values: list[float]  # one of each run
    comparable: bool = True  # it was computed by the most usual protocol of its column
    best: bool = False  # of the comparable ones, if they differ

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def deviation(self) -> float | None:
        """The standard deviation, n - 1 in the denominator; None of a single run."""
        return statistics.stdev(self.values) if self.n > 1 else None

    def __str__(self) -> str:
        if self.deviation is None:
            return number(self.mean)
        if not 1e-5 <= self.deviation < math.inf:
            return f"{number(self.mean)} ± {self.deviation:.1g}"
        digits = max(1 - math.floor(math.log10(self.deviation)), 0)  # two of the deviation
        return f"{self.mean:,.{digits}f} ± {self.deviation:,.{digits}f}"


@dataclass
class Row:
    """A run, or the runs of a combination."""

    name: str  # the run's, or what was varied
    facts: dict[str, str | float]  # by the names in FACTS
    protocol: str  # the letter of the protocol of its scores; empty without scores
    cells: dict[str, Cell]  # by score
    records: list[Record]

    def fact(self, name: str) -> str:
        """Return a fact as text; empty if it is unknown."""
        value = self.facts.get(name)
        return "" if value is None or value != value else FACTS[name][1](value)

    def text(self, score: str) -> str:
        """Return a score as Markdown, with the number of runs and the protocol where they differ from the row's."""
        cell = self.cells.get(score)
        if cell is None:
            return ""
        text = f"**{cell}**" if cell.best else str(cell)
        text += f" (n={cell.n})" if cell.n != self.facts.get("seeds", 1) else ""
        return text if cell.comparable else f"{text} [{self.protocol}]"


@dataclass
class Table:
    """Rows of scores, best first."""

    rows: list[Row]
    directions: dict[
        str, str
    ]  # of every score that is a column: lower is better, higher is better, other words or none
    facts: list[str]  # names of the other columns
    protocols: dict[str, str]  # what scores were computed from, by letter; A is the protocol of most runs
    notes: list[str] = field(default_factory=list)  # why scores can't be compared, and why runs failed

    @property
    def over_seeds(self) -> bool:
        return "seeds" in self.facts

    def markdown(self, width: int | None = None) -> str:
        """Return an aligned table: the best score of a column is bold, one of another protocol has its letter.

        Args:
            width: characters in a line, for a terminal; columns that do not fit are only named.
        """
        several = len(self.protocols) > 1
        columns = {"what was varied" if self.over_seeds else "run": [row.name for row in self.rows]}
        facts = {FACTS[name][0]: [row.fact(name) for row in self.rows] for name in self.facts}
        columns |= {heading: facts.pop(heading) for heading in ("state", "seeds", "kimg") if heading in facts}
        if several:
            columns["computed from"] = [row.protocol for row in self.rows]
        least = len(columns) + 1
        columns |= {s + ARROWS.get(way, ""): [row.text(s) for row in self.rows] for s, way in self.directions.items()}
        columns |= facts
        texts = [[_markdown_text(text) for text in (heading, *cells)] for heading, cells in columns.items()]
        widths = [max(map(len, column)) for column in texts]
        fits = [n for n in range(len(texts) + 1) if not width or sum(widths[:n]) + 3 * n + 1 <= width]
        shown = min(max(fits[-1], least), len(texts))
        lines = list(zip(*texts[:shown], strict=True))
        lines.insert(1, tuple("-" * each for each in widths[:shown]))
        rows = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]

        notes = []
        if set(self.directions.values()) & ARROWS.keys():
            deviation = ", ± deviation over seeds" if self.over_seeds else ""
            notes.append(f"↓ lower is better, ↑ higher is better{deviation}")
        notes += [f"{letter}: {words}" if several else f"from {words}" for letter, words in self.protocols.items()]
        notes += self.notes
        if shown < len(texts):
            notes.append(f"not shown here: {', '.join(name.rstrip(' ↑↓') for name in list(columns)[shown:])}")
        return "\n".join(rows) + "\n\n" + "\n".join(f"- {_markdown_text(note)}" for note in notes) + "\n"

    def csv(self) -> str:
        """Return plain numbers as CSV: of scores over seeds ``<score>_mean``, ``<score>_sd`` and ``<score>_n``."""
        parts = ("_mean", "_sd", "_n") if self.over_seeds else ("",)
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        scores = [_csv_text(score) + part for score in self.directions for part in parts]
        writer.writerow(["name", *self.facts, "protocol", *scores])
        for row in self.rows:
            cells = [row.cells.get(score) for score in self.directions]
            numbers = [(c.mean, c.deviation, c.n)[: len(parts)] if c else [None] * len(parts) for c in cells]
            facts = [row.facts.get(name) for name in self.facts]
            line = [row.name, *facts, row.protocol, *(number for cell in numbers for number in cell)]
            writer.writerow([_csv_text(value) if isinstance(value, str) else value for value in line])
        return file.getvalue()


def side_by_side(records: Sequence[Record]) -> Table:
    """Return a row for each run: its state, how far it was trained, and the scores of its newest evaluation."""
    letters, first = protocols.group([record.newest.get("protocol") for record in records])
    rows = []
    for record, letter in zip(records, letters, strict=True):
        facts = {"state": record.state, "kimg": record.kimg, "images_per_second": record.images_per_second}
        facts |= {"seconds": record.status.get("seconds", math.nan), "device": record.status.get("device", "")}
        rows.append(Row(record.name, facts, letter, _cells([record]), [record]))
    return _table(rows, [name for name in FACTS if name != "seeds"], first)


def over_seeds(records: Sequence[Record]) -> Table:
    """Return a row for each combination of what was varied: means and deviations over its runs, best first.

    Runs that failed or have not ended are counted in ``state`` without their scores. A combination whose runs were
    scored by different protocols has a row for each.
    """
    letters, first = protocols.group([record.newest.get("protocol") for record in records])
    combined: dict[str, list[tuple[Record, str]]] = defaultdict(list)
    for name, record, letter in zip(combinations(records), records, letters, strict=True):
        combined[name].append((record, letter if record.state in ("done", "unknown") else ""))
    rows, notes = [], []
    for name, members in combined.items():
        unscored = [record for record, letter in members if not letter]
        for letter, _ in Counter(letter for _, letter in members if letter).most_common() or [("", 0)]:
            scored = [record for record, own in members if letter and own == letter]
            states = Counter(record.state for record in scored + unscored)
            facts = {"state": ", ".join(f"{n} {state}" for state, n in states.items()), "seeds": len(scored)}
            rows.append(Row(name, facts, letter, _cells(scored), scored + unscored))
            unscored = []  # they are in the first row
            if len({record.config.get("seed") for record in scored}) < len(scored):
                notes.append(f"{name}: several runs have the same seed; they say nothing of the spread over seeds")
    table = _table(rows, ["state", "seeds"], first)
    table.notes += notes
    return table


def combinations(records: Sequence[Record]) -> list[str]:
    """Return for each run what was varied: its overrides except the seed and those that all runs share.

    A run without stored overrides is a combination of its own.
    """
    overrides = [{o.partition("=")[0].lstrip("+"): o for o in r.overrides if not NOT_VARIED.match(o)} for r in records]
    shared = set.intersection(*(set(each.values()) for each in overrides)) if overrides else set()
    if all(set(each.values()) == shared for each in overrides):
        shared = set()  # else no run had a name
    order = list(dict.fromkeys(key for each in overrides for key in each))  # as first typed
    names = [" ".join(each[key] for key in order if key in each and each[key] not in shared) for each in overrides]
    stored = [(record.folder / "overrides.yaml").is_file() for record in records]
    return [(n or "defaults") if known else r.name for n, known, r in zip(names, stored, records, strict=True)]


def number(value: float) -> str:
    """Return four digits, and all of those before the point."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Return seconds in the two largest units: ``1 h 5 min``, ``3 min 20 s``, ``8 s``."""
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 1:
        return f"{int(hours)} h {int(minutes) % 60} min"
    return f"{int(minutes)} min {seconds % 60:.0f} s" if minutes >= 1 else f"{seconds:.0f} s"


def _markdown_text(text: str) -> str:
    """Return text that Markdown and a terminal show as it is, in one line."""
    text = escape_control_characters(" ".join(text.splitlines()))
    return text.replace("|", "&#124;").replace("<", "&lt;").replace("](", "]\\(")


def _csv_text(text: str) -> str:
    """Return text that a spreadsheet does not run as a formula."""
    text = escape_control_characters(text)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _cells(records: Sequence[Record]) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for record in records:
        for score, value in record.scores.items():
            if not DETAIL.search(score):
                cells.setdefault(score, Cell([])).values.append(value)
    return cells


def _table(rows: list[Row], facts: list[str], first: dict[str, dict]) -> Table:
    """Return the rows in order, with comparable and best cells marked, and notes."""
    directions, notes = _directions(rows), {}
    for score, way in directions.items():
        having = [row for row in rows if score in row.cells]
        usual = min(Counter(row.protocol for row in having).items(), key=lambda item: (-item[1], item[0]))[0]
        for row in having:
            row.cells[score].comparable = row.protocol == usual
            if row.protocol != usual:
                reasons = "; ".join(protocols.differences(first[row.protocol], first[usual]))
                notes[row.protocol, usual] = f"{row.protocol} is not comparable with {usual}: {reasons}"
        cells = [row.cells[score] for row in having if row.protocol == usual]
        means = {cell.mean for cell in cells if math.isfinite(cell.mean)}
        if way in ARROWS and len(means) > 1:
            best = min(means) if way == "lower is better" else max(means)
            for cell in cells:
                cell.best = cell.mean == best
    leading = [name for name, _ in Counter(r.leading_score for row in rows for r in row.records).most_common() if name]

    def rank(row: Row) -> tuple[int, bool, float]:
        for i, name in enumerate(leading):
            if name in row.cells and math.isfinite(row.cells[name].mean):
                return i, not row.cells[name].comparable, row.cells[name].mean
        return len(leading), False, 0.0

    failed = {record.folder: record for row in rows for record in row.records if record.status.get("error")}
    errors = [f"{record.name}: {str(record.status['error']).splitlines()[0]}" for record in failed.values()]
    used = {row.protocol for row in rows}
    lines = protocols.describe({letter: facts for letter, facts in first.items() if letter in used})
    return Table(sorted(rows, key=rank), directions, facts, lines, [*notes.values(), *errors])


def _directions(rows: list[Row]) -> dict[str, str]:
    """Return which values of each score are better, the score of most rows first; empty where no run says it."""
    directions = {}
    for score, _ in Counter(score for row in rows for score in row.cells).most_common():
        lists = [r.newest.get("lower_is_better") for row in rows for r in row.records if score in r.scores]
        lower = [names for names in lists if names is not None]
        directions[score] = better_direction(score, [name for names in lower for name in names]) if lower else ""
    return directions
