"""Runs side by side as one HTML file, ``compare.html``, that loads nothing from elsewhere and escapes all text."""

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
from sparring.compare.tables import NOT_VARIED, Table, combinations, over_seeds, side_by_side
from sparring.config.redaction import escape_control_characters
from sparring.storage.files import atomic_write

# Keys that say where and how a run was done.
NOT_COMPARED = ("cache", "hydra", "logger", "task", "run", "resume", "sweep", "sample", "compare", "export")
LARGEST, SIDE = 300_000, 900  # a picture of more bytes is shown at no more than so many pixels a side


def write(records: Sequence[Record], folder: Path) -> tuple[Path, Table]:
    """Write ``compare.html`` and ``compare.md``.

    Returns:
        The page's path, and the table over seeds if there are several runs of a combination, else run by run.
    """
    runs = side_by_side(records)
    seeds = over_seeds(records) if len(runs.rows) > len(set(combinations(records))) else None
    tables = {"Over seeds": seeds, "Run by run": runs} if seeds else {"Run by run": runs}
    text = "\n".join(f"## {title}\n\n{table.markdown()}" for title, table in tables.items())
    for name, content in (("compare.html", render(runs, seeds)), ("compare.md", f"# {len(records)} runs\n\n{text}")):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return folder / "compare.html", seeds or runs


def render(runs: Table, seeds: Table | None) -> str:
    """Return the page in the order of the rows of ``runs``; ``seeds`` is the table of their combinations."""
    records = [row.records[0] for row in runs.rows]
    series = as_series(records)
    typed = [{o for o in record.overrides if not NOT_VARIED.match(o)} for record in records]
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
        series_of={record.folder: each for each in series for record in each.records},
        shared=[o for o in records[0].overrides if all(o in each for each in typed)],
        charts={group: list(members) for group, members in groupby(charts(series), lambda chart: chart.group)},
        pictures=_pictures(records),
        differing=differing(records),
    )


def differing(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return the keys whose values differ, each with its value in every run; a dash where a run has no such key."""
    differing_keys = {}
    for key in dict.fromkeys(key for record in records for key in record.keys):
        values = [_text(record.keys[key]) if key in record.keys else "–" for record in records]
        if key.partition(".")[0] not in NOT_COMPARED and len(set(values)) > 1:
            differing_keys[key] = values
    return differing_keys


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _pictures(records: Sequence[Record]) -> dict[str, list[tuple[Record, str, str]]]:
    """Return runs with the kimg and the ``data:`` address of their newest samples, by the noise of these in words."""
    alike: dict[tuple, list[tuple[Record, str, str]]] = {}
    for record in records:
        if (newest := _newest_samples(record)) is not None:
            seed, size, latent, count = map(record.keys.get, ("seed", "model.latent_dim", "model.latent", "grid.count"))
            alike.setdefault((seed, size, latent or "normal", count), []).append((record, *newest))
    groups: dict[str, list] = {}
    for (seed, size, *_), shown in sorted(alike.items(), key=lambda item: str(item[0][0])):
        same = size is not None and len(shown) > 1
        noise = f": the same noise, {size} numbers, in the same order in each picture" if same else ""
        groups.setdefault(f"Seed {seed}{noise}", []).extend(shown)
    return groups


def _newest_samples(record: Record) -> tuple[str, str] | None:
    """Return the kimg of a run's newest picture and its address; None if no picture can be read."""
    path = max((record.folder / "samples").glob("kimg-*.png"), default=None)
    if path is None:
        return None
    try:
        with Image.open(path, formats=["PNG"]) as image:  # other formats start other programs
            image.load()
            kind, content = "png", path.read_bytes()
            if len(content) > LARGEST:
                image.thumbnail((SIDE, SIDE))
                image.save(file := io.BytesIO(), "webp", quality=90)
                kind, content = "webp", file.getvalue()
        kimg = f"{float(path.stem.removeprefix('kimg-')):g}"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return kimg, f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
