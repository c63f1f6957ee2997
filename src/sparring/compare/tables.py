"""Scores as tables: a row for each run, or one for each combination of what was varied, over its seeds."""

import csv
import io
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, stdev

from sparring.compare.protocols import described, differences, kinds
from sparring.compare.records import Record
from sparring.config.redaction import escape_control_characters
from sparring.runs.console import better_direction

APART = re.compile(r"[~+]*(hydra|logger|task|cache|resume|run|sweep|seed)\b")  # overrides that are not compared
BESIDE = re.compile(r"_(low|high|sd|std|\d+)$")  # intervals of other scores, and those of single classes
FACTS = {  # of a row, under their names in a CSV file: how they are headed and written
    "state": ("state", str),
    "seeds": ("seeds", str),
    "kimg": ("kimg", lambda kimg: f"{kimg:.4g}"),
    "seconds": ("wall time", lambda seconds: duration(seconds)),
    "images_per_second": ("images/s", lambda rate: f"{rate:,.0f}"),
    "device": ("device", str),
}


@dataclass(frozen=True)
class Cell:
    """A score.

    Attributes:
        mean: of the runs in the row.
        deviation: of them, n - 1 in the denominator; None for a single one.
        n: how many they are.
        comparable: whether it was computed as most others of its column were.
        best: the best of those that may be compared, if there are two or more.
    """

    mean: float
    deviation: float | None
    n: int
    comparable: bool = True
    best: bool = False

    def __str__(self) -> str:
        if self.deviation is None:
            return number(self.mean)
        if not 1e-5 <= self.deviation < math.inf:
            return f"{number(self.mean)} ± {self.deviation:.1g}"
        digits = max(1 - math.floor(math.log10(self.deviation)), 0)  # two of the deviation
        return f"{self.mean:,.{digits}f} ± {self.deviation:,.{digits}f}"


@dataclass(frozen=True)
class Row:
    """What is known of a run, or of the runs of a combination.

    Attributes:
        name: the run's, or what was varied.
        facts: by the names in ``FACTS``.
        protocol: the letter of what its scores were computed from; empty without scores.
        cells: by score.
        records: the runs.
    """

    name: str
    facts: dict[str, str | float]
    protocol: str
    cells: dict[str, Cell]
    records: list[Record]

    def fact(self, name: str) -> str:
        """A fact as it is written; empty where it is not known."""
        value = self.facts.get(name)
        return "" if value is None or value != value else FACTS[name][1](value)


@dataclass(frozen=True)
class Table:
    """Rows of scores, best first.

    Attributes:
        rows: each a run, or a combination.
        directions: of every score that is a column: ``lower is better``, ``higher is better``, another word, or empty.
        facts: names of the other columns.
        protocols: what scores were computed from, by letter; A is that of the most runs.
        notes: what keeps numbers from being compared, and what runs failed of.
    """

    rows: list[Row]
    directions: dict[str, str]
    facts: list[str]
    protocols: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def over_seeds(self) -> bool:
        return "seeds" in self.facts

    def markdown(self, width: int | None = None) -> str:
        """An aligned table; the best number of a column in bold, one that may not be compared with its letter in brackets.

        Args:
            width: characters in a line, for a terminal; scores that do not fit are only named.
        """
        arrows, several = {"lower is better": " ↓", "higher is better": " ↑"}, len(self.protocols) > 1
        columns = {"what was varied" if self.over_seeds else "run": [row.name for row in self.rows]}
        facts = {FACTS[name][0]: [row.fact(name) for row in self.rows] for name in self.facts}
        columns |= {heading: facts.pop(heading) for heading in ("state", "seeds", "kimg") if heading in facts}
        if several:
            columns["computed from"] = [row.protocol for row in self.rows]
        least = len(columns) + 1
        for score, way in self.directions.items():
            columns[score + arrows.get(way, "")] = [_written(row, row.cells.get(score)) for row in self.rows]
        columns |= facts
        texts = [[_plain(text) for text in (heading, *cells)] for heading, cells in columns.items()]
        widths = [max(map(len, column)) for column in texts]
        fits = [n for n in range(len(texts) + 1) if not width or sum(widths[:n]) + 3 * n + 1 <= width]
        shown = min(max(fits[-1], least), len(texts))
        lines = list(zip(*texts[:shown], strict=True))
        lines.insert(1, tuple("-" * each for each in widths[:shown]))
        rows = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
        said = [f"{letter}: {words}" if several else f"from {words}" for letter, words in self.protocols.items()]
        said += self.notes
        if set(self.directions.values()) & arrows.keys():
            said.insert(0, "↓ lower is better, ↑ higher is better" + ", ± deviation over seeds" * self.over_seeds)
        said += (
            [f"not shown here: {', '.join(name.rstrip(' ↑↓') for name in list(columns)[shown:])}"]
            if shown < len(texts)
            else []
        )
        return "\n".join(rows) + "\n\n" + "\n".join(f"- {_plain(line)}" for line in said) + "\n"

    def csv(self) -> str:
        """Plain numbers: of scores over seeds ``<score>_mean``, ``<score>_sd`` and ``<score>_n``."""
        parts = ("_mean", "_sd", "_n") if self.over_seeds else ("",)
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["name", *self.facts, "protocol", *(_cell(score) + part for score in self.directions for part in parts)]
        )
        for row in self.rows:
            cells = [row.cells.get(score) for score in self.directions]
            numbers = [(c.mean, c.deviation, c.n)[: len(parts)] if c else [None] * len(parts) for c in cells]
            facts = [_cell(v) if isinstance(v, str) else v for v in (row.facts.get(name) for name in self.facts)]
            writer.writerow([_cell(row.name), *facts, row.protocol, *(number for cell in numbers for number in cell)])
        return file.getvalue()


def side_by_side(records: Sequence[Record]) -> Table:
    """A row for each run: its state, how far it came, and the scores of its newest evaluation."""
    letters, protocols = kinds([record.newest.get("protocol") for record in records])
    rows = []
    for record, letter in zip(records, letters, strict=True):
        facts = {
            "state": record.state,
            "kimg": record.kimg,
            "seconds": record.status.get("seconds", math.nan),
            "images_per_second": record.images_per_second,
            "device": record.status.get("device", ""),
        }
        rows.append(_row(record.name, facts, letter, [record], [record]))
    return _table(rows, [name for name in FACTS if name != "seeds"], protocols)


def over_seeds(records: Sequence[Record]) -> Table:
    """A row for each combination of what was varied: means and deviations over its runs, best first.

    Runs that failed or have not ended are counted in ``state``, and their scores left out; runs of one combination that were
    scored by different protocols have a row for each.
    """
    letters, protocols = kinds([record.newest.get("protocol") for record in records])
    together: dict[str, list[tuple[Record, str]]] = defaultdict(list)
    for name, record, letter in zip(combinations(records), records, letters, strict=True):
        together[name].append((record, letter if record.state in ("done", "unknown") else ""))
    rows, notes = [], []
    for name, members in together.items():
        found = [letter for letter, _ in Counter(letter for _, letter in members if letter).most_common()] or [""]
        for letter in found:
            counted = [record for record, of in members if of == letter and letter]
            beside = [record for record, of in members if not of and letter == found[0]]
            states = Counter(record.state for record in counted + beside)
            facts = {"state": ", ".join(f"{n} {state}" for state, n in states.items()), "seeds": len(counted)}
            rows.append(_row(name, facts, letter, counted, counted + beside))
            if len({record.config.get("seed") for record in counted}) < len(counted):
                notes.append(f"{name}: of several runs with the same seed, which tell nothing of the spread over seeds")
    table = _table(rows, ["state", "seeds"], protocols)
    return replace(table, notes=table.notes + notes)


def combinations(records: Sequence[Record]) -> list[str]:
    """What was varied, for each run: its overrides but the seed and those that all runs share.

    A run that does not say what was typed to start it is a combination of its own.
    """
    typed = [
        {override.partition("=")[0].lstrip("+"): override for override in record.overrides if not APART.match(override)}
        for record in records
    ]
    shared = set.intersection(*(set(each.values()) for each in typed)) if typed else set()
    shared = shared if any(set(each.values()) != shared for each in typed) else set()  # else all would be nameless
    order = list(dict.fromkeys(key for each in typed for key in each))  # as first typed
    names = [" ".join(each[key] for key in order if key in each and each[key] not in shared) for each in typed]
    told = [(record.folder / "overrides.yaml").is_file() for record in records]
    return [
        (name or "defaults") if tells else record.name for name, tells, record in zip(names, told, records, strict=True)
    ]


def number(value: float) -> str:
    """Four digits, and all of those before the point."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """In the two largest units."""
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 1:
        return f"{int(hours)} h {int(minutes) % 60} min"
    return f"{int(minutes)} min {seconds % 60:.0f} s" if minutes >= 1 else f"{seconds:.0f} s"


def _plain(text: str) -> str:
    """Text that Markdown and a terminal leave as it is, in one line."""
    return (
        escape_control_characters(" ".join(text.splitlines()))
        .replace("|", "&#124;")
        .replace("<", "&lt;")
        .replace("](", "]\\(")
    )


def _cell(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    text = escape_control_characters(text)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _written(row: Row, cell: Cell | None) -> str:
    if cell is None:
        return ""
    text = f"**{cell}**" if cell.best else str(cell)
    text += f" (n={cell.n})" if cell.n != row.facts.get("seeds", 1) else ""
    return text if cell.comparable else f"{text} [{row.protocol}]"


def _row(name: str, facts: dict, letter: str, counted: list[Record], records: list[Record]) -> Row:
    values: dict[str, list[float]] = defaultdict(list)
    for record in counted:
        for score, value in record.scores.items():
            if not BESIDE.search(score):
                values[score].append(value)
    cells = {
        score: Cell(mean(found), stdev(found) if len(found) > 1 else None, len(found))
        for score, found in values.items()
    }
    return Row(name, facts, letter, cells, records)


def _table(rows: list[Row], facts: list[str], protocols: dict[str, dict]) -> Table:
    """The rows in order, with marks, and what is to be said of them."""
    directions = {}
    for row in rows:
        for score in row.cells:
            known = [r.newest.get("lower_is_better") for r in row.records if score in r.scores]
            lower = [name for names in known if names is not None for name in names]
            told = any(names is not None for names in known)  # an old run says nothing
            directions[score] = directions.get(score) or (better_direction(score, lower) if told else "")
    having = Counter(score for row in rows for score in row.cells)
    directions = {score: directions[score] for score in sorted(directions, key=lambda score: -having[score])}
    notes = {}
    for score, way in directions.items():
        beside = [row for row in rows if score in row.cells]
        usual = min(Counter(row.protocol for row in beside).items(), key=lambda item: (-item[1], item[0]))[0]
        alike = [row for row in beside if row.protocol == usual and math.isfinite(row.cells[score].mean)]
        for row in beside:
            row.cells[score] = replace(row.cells[score], comparable=row.protocol == usual)
            if row.protocol != usual:
                apart = "; ".join(differences(protocols[row.protocol], protocols[usual]))
                notes[row.protocol, usual] = f"{row.protocol} is not comparable with {usual}: {apart}"
        if len(alike) > 1 and way in ("lower is better", "higher is better"):
            values = [row.cells[score].mean for row in alike]
            best = min(values) if way.startswith("lower") else max(values)
            for row in alike:
                row.cells[score] = replace(
                    row.cells[score], best=row.cells[score].mean == best and len(set(values)) > 1
                )
    leading = [name for name, _ in Counter(r.leading_score for row in rows for r in row.records).most_common() if name]

    def place(row: Row) -> tuple:
        for i, name in enumerate(leading):
            if name in row.cells and math.isfinite(row.cells[name].mean):
                return i, not row.cells[name].comparable, row.cells[name].mean
        return len(leading), False, 0.0

    failed = {record.folder: record for row in rows for record in row.records if record.status.get("error")}
    errors = [f"{record.name}: {str(record.status['error']).splitlines()[0]}" for record in failed.values()]
    protocols = {letter: protocol for letter, protocol in protocols.items() if letter in {row.protocol for row in rows}}
    return Table(sorted(rows, key=place), directions, facts, described(protocols), [*notes.values(), *errors])
