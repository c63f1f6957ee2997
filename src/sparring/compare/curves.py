"""Curves of many runs against kimg: a chart for each quantity, a line for each run or each combination over its seeds."""

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from sparring.compare.protocols import described, kinds
from sparring.compare.records import Record
from sparring.compare.tables import BESIDE, combinations

Points = list[tuple[float, float]]  # (kimg, value)
COLOURS = [
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
]  # Okabe and Ito's, which all people tell apart
DASHES = ["", "6 2", "1.5 1.5", "7 2 1.5 2"]
MOST = 200  # points in a line; of longer ones the means of so many pieces
INK, RULE = "#010101", "#020202"  # stand for colours of the page, which may be dark
STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
} | dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], INK)


@dataclass(frozen=True)
class Series:
    """What is one line in every chart.

    Attributes:
        name: what was varied.
        records: its runs.
        number: its place, which decides how it looks.
    """

    name: str
    records: list[Record]
    number: int

    @property
    def colour(self) -> str:
        return COLOURS[self.number % len(COLOURS)]

    @property
    def dashes(self) -> str:
        """Lengths of dashes and gaps, as SVG has them; another set once the colours are used up."""
        return DASHES[self.number // len(COLOURS) % len(DASHES)]


@dataclass(frozen=True)
class Chart:
    """A quantity against kimg.

    Attributes:
        title: its name.
        group: ``Losses``, ``Diagnostics``, or what scores were computed from.
        svg: an ``<svg>`` element for a page that defines ``--line-0`` ... for ``COLOURS`` and ``--rule`` for the grid.
    """

    title: str
    group: str
    svg: str


def as_series(records: Sequence[Record]) -> list[Series]:
    """A series for each combination of what was varied, in the order of the runs."""
    together: dict[str, list[Record]] = defaultdict(list)
    for name, record in zip(combinations(records), records, strict=True):
        together[name].append(record)
    return [Series(name, members, i) for i, (name, members) in enumerate(together.items())]


def charts(series: Sequence[Series]) -> list[Chart]:
    """Every quantity that some run has two values of: scores during training, by what they were computed from, losses, and
    then diagnostics.
    """
    records = [record for each in series for record in each.records]
    quantities = _scores(records)
    for name in dict.fromkeys(name for record in records for name in record.curves if not name.startswith("scores")):
        term = name.partition("/")[2]
        group = "Losses" if term and term not in ("lr", "gradient_norm") else "Diagnostics"
        quantities[group, name] = {r.folder: r.curves[name] for r in records if name in r.curves}
    found = []
    for (group, name), lines in quantities.items():
        lines = {folder: thinned(points) for folder, points in lines.items()}
        if any(len(points) > 1 for points in lines.values()):
            found.append(Chart(name, group, _draw(f"{group} {name}", series, lines)))
    return sorted(found, key=lambda chart: {"Losses": 1, "Diagnostics": 2}.get(chart.group, 0))


def thinned(points: Points) -> Points:
    """The finite ones; of more than ``MOST`` the means of as many pieces."""
    finite = np.array([point for point in points if np.isfinite(point).all()]).reshape(-1, 2)
    if len(finite) > MOST:
        finite = np.stack([piece.mean(0) for piece in np.array_split(finite, MOST)])
    return [(kimg, value) for kimg, value in finite.tolist()]


def _scores(records: Iterable[Record]) -> dict[tuple[str, str], dict[Path, Points]]:
    """Scores during training, by what they were computed from and name: the points of each run that has them."""
    entries = [
        (record.folder, entry)
        for record in records
        for entry in record.evaluations
        if "extractor" in entry["protocol"] and "checkpoint" not in entry["protocol"]
    ]
    letters, protocols = kinds([entry["protocol"] for _, entry in entries])
    found: dict[tuple[str, str], dict[Path, Points]] = defaultdict(lambda: defaultdict(list))
    for letter, words in described(protocols).items():
        for (folder, entry), of in zip(entries, letters, strict=True):
            for name, value in entry["scores"].items():
                if of == letter and not BESIDE.search(name):
                    found[f"Scores from {words}", name][folder].append((entry["kimg"], value))
    return found


def _draw(title: str, series: Sequence[Series], lines: dict[Path, Points]) -> str:
    """A chart as an ``<svg>`` element."""
    with rc_context(STYLE | {"svg.hashsalt": title}):  # no two charts of a page have elements of one name
        figure = Figure(figsize=(4.4, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for each in series:
            known = [np.array(points).T for r in each.records if (points := lines.get(r.folder))]
            _plot(axes, each, known)
        values = np.array([value for points in lines.values() for _, value in points])
        if values.min() > 0 and values.max() > 50 * values.min():
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_xlabel("kimg")
        file = io.StringIO()
        figure.savefig(
            file, format="svg", transparent=True, metadata=dict.fromkeys(["Creator", "Date", "Format", "Type"])
        )
    svg = re.sub(r"<(metadata|style).*?</\1>", "", file.getvalue(), flags=re.DOTALL)
    svg = re.sub(r" id=\"(figure|axes|patch|[a-z0-9]+_)\w*\"| font-family: [^;]*;", "", svg[svg.index("<svg") :])
    svg = svg.replace(INK, "currentColor").replace(RULE, "var(--rule)")
    for i, colour in enumerate(COLOURS):
        svg = svg.replace(colour, f"var(--line-{i})")
    return svg


def _plot(axes: Axes, series: Series, runs: list[np.ndarray]) -> None:
    """A run's line; of several runs (2, points) each, thin lines, what lies between the lowest and the highest, their mean."""
    dashes = [float(length) for length in series.dashes.split()]
    style = {"color": series.colour, "dashes": dashes or (None, None)}
    if len(runs) == 1:
        axes.plot(*runs[0], linewidth=1.6, **style)
    elif runs:
        for run in runs:
            axes.plot(*run, linewidth=0.6, alpha=0.6, color=series.colour)
        start, end = max(kimg[0] for kimg, _ in runs), min(kimg[-1] for kimg, _ in runs)
        kimg = np.unique(np.concatenate([kimg[(kimg >= start) & (kimg <= end)] for kimg, _ in runs]))
        values = np.stack([np.interp(kimg, *run) for run in runs])
        axes.fill_between(kimg, values.min(0), values.max(0), color=series.colour, alpha=0.15, linewidth=0)
        axes.plot(kimg, values.mean(0), linewidth=1.8, **style)
