"""Runs side by side as one HTML file that needs no other: nothing in it is loaded from elsewhere, and all text is escaped."""

import base64
import io
import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from sparring.compare.curves import as_series, charts
from sparring.compare.records import Record
from sparring.compare.tables import APART, Table, combinations, over_seeds, side_by_side
from sparring.config.redaction import escape_control_characters
from sparring.storage.files import atomic_write

# Keys of what surrounds a run, not of what was run.
AROUND = ("cache", "hydra", "logger", "task", "run", "resume", "sweep", "sample", "compare", "export")
LARGE, SIDE = 300_000, 900  # a picture of more bytes is shown at no more than so many pixels a side


def write(records: Sequence[Record], folder: Path) -> tuple[Path, Table]:
    """Write ``compare.html`` and ``compare.md``; return the page's path, and the table that says most in few lines."""
    runs = side_by_side(records)
    seeds = over_seeds(records) if len(runs.rows) > len(set(combinations(records))) else None
    tables = {"Over seeds": seeds, "Run by run": runs} if seeds else {"Run by run": runs}
    text = "\n".join(f"## {title}\n\n{table.markdown()}" for title, table in tables.items())
    for name, content in (("compare.html", render(runs, seeds)), ("compare.md", f"# {len(records)} runs\n\n{text}")):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return folder / "compare.html", seeds or runs


def differing(records: Sequence[Record]) -> dict[str, list[str]]:
    """Keys of the configurations that are not alike in all, each with its value in every run; a dash where a run has no such key."""
    found = {}
    for key in dict.fromkeys(key for record in records for key in record.keys):
        values = [_value(record.keys[key]) if key in record.keys else "–" for record in records]
        if key.partition(".")[0] not in AROUND and len(set(values)) > 1:
            found[key] = values
    return found


def render(runs: Table, seeds: Table | None) -> str:
    """The page, with everything in the order of the rows of ``runs``; ``seeds`` is the table of their combinations."""
    records = [row.records[0] for row in runs.rows]
    series = as_series(records)
    grouped = {group: list(members) for group, members in groupby(charts(series), lambda chart: chart.group)}
    typed = [{o for o in record.overrides if not APART.match(o)} for record in records]
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=lambda shown: escape_control_characters(shown) if type(shown) is str else shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html")
    return template.render(
        runs=runs,
        seeds=seeds,
        records=records,
        series=series,
        of={record.folder: each for each in series for record in each.records},
        shared=[o for o in records[0].overrides if all(o in each for each in typed)],
        charts=grouped,
        pictures=_pictures(records),
        differing=differing(records),
    )


def _pictures(records: Sequence[Record]) -> dict[str, list[tuple[Record, str, str]]]:
    """By what the samples were made of, in words: runs, when their newest samples were drawn, and these as ``data:`` addresses."""
    alike: dict[tuple, list[Record]] = {}
    for record in records:
        noise = [record.keys.get(key) for key in ("seed", "model.latent_dim", "model.latent", "grid.count")]
        alike.setdefault((*noise[:2], noise[2] or "normal", noise[3]), []).append(record)
    found: dict[str, list] = {}
    for (seed, numbers, *_), members in sorted(alike.items(), key=lambda item: str(item[0][0])):
        shown = [(record, *newest) for record in members if (newest := _newest_samples(record))]
        same = f": the same noise, of {numbers} numbers, at the same place of each picture"
        found.setdefault(f"Seed {seed}" + same * (numbers is not None and len(shown) > 1), []).extend(shown)
    return {words: shown for words, shown in found.items() if shown}


def _newest_samples(record: Record) -> tuple[str, str] | None:
    """When a run's newest picture was drawn, and its address; None without one that can be read."""
    path = max((record.folder / "samples").glob("kimg-*.png"), default=None)
    if path is None:
        return None
    try:
        with Image.open(path, formats=["PNG"]) as image:  # other formats start other programs
            image.load()
            kind, content = "png", path.read_bytes()
            if len(content) > LARGE:
                image.thumbnail((SIDE, SIDE))
                image.save(file := io.BytesIO(), "webp", quality=90)
                kind, content = "webp", file.getvalue()
        kimg = f"{float(path.stem.removeprefix('kimg-')):g}"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return kimg, f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
