"""Curves of many runs against kimg: a chart for each quantity, a line for each run or combination over its seeds."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparring.compare import protocols
from sparring.compare.records import Record
from sparring.compare.tables import DETAIL, combinations

Points = list[tuple[float, float]]  # (kimg, value)
Ticks = list[tuple[float, str]]  # (position, label)
COLOURS = 6  # of the page; then come other dashes
DASHES = ["", "6 2", "1.5 1.5", "7 2 1.5 2"]  # lengths of dashes and gaps, as SVG has them
MOST_POINTS = 200  # of a line; longer ones are shown by the means of so many pieces
LEFT, RIGHT, TOP, BOTTOM = 44, 312, 6, 156  # the edges of a plot in an SVG of 320 x 190


@dataclass(frozen=True)
class Series:
    """The runs that are one line in every chart."""

    name: str  # what was varied
    records: list[Record]
    number: int  # decides how the line looks

    @property
    def colour(self) -> str:
        return f"var(--line-{self.number % COLOURS})"

    @property
    def dashes(self) -> str:
        return DASHES[self.number // COLOURS % len(DASHES)]


@dataclass(frozen=True)
class Chart:
    """A quantity against kimg."""

    title: str
    group: str  # Losses, Diagnostics, or what scores were computed from
    x: Ticks
    y: Ticks
    shapes: list[tuple[str, Series, str]]  # line, member (a thin line) or band; whose; the path as SVG has it


@dataclass(frozen=True)
class Axis:
    """Maps values from ``low`` to ``high`` to positions from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def around(cls, values: np.ndarray, start: float, end: float, log: bool = False) -> "Axis":
        """Return an axis for these values; ``log`` allows a logarithmic one, for positive values of different sizes."""
        low, high = float(values.min()), float(values.max())
        if log and low > 0 and high > 50 * low:
            return cls(low / 1.1, high * 1.1, start, end, True)
        margin = 0.04 * (high - low) or abs(high) / 10 or 1.0
        return cls(low - margin, high + margin, start, end)

    def position(self, value: np.ndarray | float) -> np.ndarray:
        scale = np.log if self.log else np.asarray
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.start + share * (self.end - self.start)

    def ticks(self) -> Ticks:
        """Return round numbers: about five, or those of every decade."""
        if self.log:
            parts = (1, 2, 5) if self.high < 1000 * self.low else (1,)
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
            values = np.array([part * 10.0**decade for decade in decades for part in parts])
        else:
            least = (self.high - self.low) / 5
            decade = 10.0 ** math.floor(math.log10(least))
            step = next(part * decade for part in (1, 2, 5, 10) if part * decade >= least)
            values = np.arange(math.ceil(self.low / step), math.floor(self.high / step) + 1) * step
        values = values[(values >= self.low) & (values <= self.high)]
        return [(round(float(self.position(value)), 1), f"{value:g}") for value in values]


def as_series(records: Sequence[Record]) -> list[Series]:
    """Return a series for each combination of what was varied, in the order of the runs."""
    members: dict[str, list[Record]] = defaultdict(list)
    for name, record in zip(combinations(records), records, strict=True):
        members[name].append(record)
    return [Series(name, runs, i) for i, (name, runs) in enumerate(members.items())]


def charts(series: Sequence[Series]) -> list[Chart]:
    """Return a chart of every quantity with two values in some run: scores during training, losses, diagnostics."""
    records = [record for each in series for record in each.records]
    quantities = _scores(records)
    for name in dict.fromkeys(name for record in records for name in record.curves if not name.startswith("scores")):
        term = name.partition("/")[2]
        group = "Losses" if term and term not in ("lr", "gradient_norm") else "Diagnostics"
        quantities[group, name] = {r.folder: r.curves[name] for r in records if name in r.curves}
    drawn = []
    for (group, name), lines in quantities.items():
        lines = {folder: thinned(points) for folder, points in lines.items()}
        if any(len(points) > 1 for points in lines.values()):
            drawn.append(_chart(name, group, series, lines))
    return sorted(drawn, key=lambda chart: {"Losses": 1, "Diagnostics": 2}.get(chart.group, 0))


def thinned(points: Points) -> Points:
    """Return the finite points; of more than ``MOST_POINTS`` the means of as many pieces."""
    finite = np.array([point for point in points if np.isfinite(point).all()]).reshape(-1, 2)
    if len(finite) > MOST_POINTS:
        finite = np.stack([piece.mean(0) for piece in np.array_split(finite, MOST_POINTS)])
    return [(kimg, value) for kimg, value in finite.tolist()]


def _scores(records: Iterable[Record]) -> dict[tuple[str, str], dict[Path, Points]]:
    """Return the points of each run, of every score during training, by its protocol in words and its name."""
    entries = [
        (record.folder, entry)
        for record in records
        for entry in record.evaluations
        if "extractor" in entry["protocol"] and "checkpoint" not in entry["protocol"]
    ]
    letters, first = protocols.group([entry["protocol"] for _, entry in entries])
    scores: dict[tuple[str, str], dict[Path, Points]] = defaultdict(lambda: defaultdict(list))
    for letter, words in protocols.describe(first).items():
        for (folder, entry), own in zip(entries, letters, strict=True):
            for name, value in entry["scores"].items():
                if own == letter and not DETAIL.search(name):
                    scores[f"Scores from {words}", name][folder].append((entry["kimg"], value))
    return scores


def _chart(title: str, group: str, series: Sequence[Series], lines: dict[Path, Points]) -> Chart:
    """Draw each series: a line of one run; of several runs thin lines, the band between their extremes, their mean."""
    kimg, values = np.array([point for points in lines.values() for point in points]).T
    x, y = Axis.around(kimg, LEFT, RIGHT), Axis.around(values, BOTTOM, TOP, log=True)

    def path(kimg: np.ndarray, values: np.ndarray) -> str:
        return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x.position(kimg), y.position(values), strict=True))

    shapes = []
    for each in series:
        runs = [np.array(points).T for r in each.records if (points := lines.get(r.folder))]
        if len(runs) == 1:
            shapes.append(("line", each, path(*runs[0])))
        elif runs:
            shapes += [("member", each, path(*run)) for run in runs]
            start, end = max(kimg[0] for kimg, _ in runs), min(kimg[-1] for kimg, _ in runs)
            kimg = np.unique(np.concatenate([kimg[(kimg >= start) & (kimg <= end)] for kimg, _ in runs]))
            if len(kimg):
                values = np.stack([np.interp(kimg, *run) for run in runs])
                around = np.concatenate([kimg, kimg[::-1]]), np.concatenate([values.min(0), values.max(0)[::-1]])
                shapes += [("band", each, path(*around) + "Z"), ("line", each, path(kimg, values.mean(0)))]
    return Chart(title, group, x.ticks(), y.ticks(), shapes)
