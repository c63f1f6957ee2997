"""A workspace in W&B, in which a project's runs lie side by side: scores, pictures, what they differ in, curves on kimg."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sparring.compare.records import Record
from sparring.compare.tables import APART, BESIDE, combinations
from sparring.config.errors import UserError
from sparring.config.redaction import redact
from sparring.runs.wandb_run import has_key, run_id

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

# What is laid out without runs, whose own names are better.
USUAL = [f"scores/{name}" for name in ("fid", "fd_classifier", "reverse_kl", "l1", "kid", "precision", "recall")]
USUAL += [f"scores/{name}" for name in ("density", "coverage", "modes_recovered", "psnr", "ssim")]
USUAL += ["discriminator/adversarial", "generator/adversarial", "D(x)", "D(G(z))", "diversity", "images_per_second"]
LEADING = ["fid", "fd_classifier", "reverse_kl", "l1"]  # each of a kind of evaluation, the lower the better
PICTURES = ["samples", "reconstructions"]
KEYS = ["loss._target_", "optimizer.generator.lr", "optimizer.discriminator.lr", "n_dis", "data.batch_size"]

MANY = 100  # runs that a chart shows; W&B stops at ten by itself


def build(entity: str, project: str, records: Sequence[Record] = ()) -> "ws.Workspace":
    """The workspace of a project: of all its runs, or of some, whose seeds are averaged.

    Args:
        entity: a user or team of W&B.
        project: its project.
        records: the runs to be shown, and whose own scores, losses and pictures are laid out; none for the usual ones.

    Raises:
        UserError: none of the runs was logged to that project.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    names = _once(name for record in records for name in record.curves) if records else USUAL
    scores = _once(n.partition("/")[2] for n in names if n.startswith("scores") and not BESIDE.search(n))
    others = [name for name in names if not name.startswith("scores")]
    notes = [name for name in others if "/" not in name or name.endswith(("/gradient_norm", "/lr"))]
    evaluations = [entry for record in records for entry in record.evaluations]
    falling = (
        {name for entry in evaluations for name in entry.get("lower_is_better", [])} if records else {*LEADING, "kid"}
    )
    leading = _once(record.leading_score for record in records) if records else LEADING
    leading = [name for name in leading if name in scores] or scores[:1]
    best = {name: f"scores/{name}.min" if name in falling else f"scores/{name}" for name in leading}  # in W&B's summary
    varied = keys_that_differ(records)
    grids = _pictures(records) if records else PICTURES
    browsers = [wr.MediaBrowser(title=key, media_keys=[key], grid_x_axis="run", grid_y_axis="step") for key in grids]
    coordinates = [_coordinates(name, best[name], varied or KEYS) for name in leading]
    wide = {"layout_settings": ws.SectionLayoutSettings(columns=1, rows=1)}
    sections = [
        _section("Best scores", [_bars(name, best[name]) for name in leading], is_open=True, pinned=True),
        _section("Samples", browsers, is_open=True, **wide),
        _section("What was varied", [*coordinates, wr.RunComparer(diff_only="split")], is_open=bool(varied), **wide),
        _section("Scores over kimg", [_score_curve(name) for name in scores], is_open=True),
        _section("Losses", [_curve(name) for name in others if name not in notes]),
        _section("Diagnostics", [_curve(name) for name in notes]),
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"Sparring: {len(records)} runs" if records else "Sparring",
        sections=[section for section in sections if section.panels],
        settings=ws.WorkspaceSettings(x_axis="kimg", max_runs=MANY),
        runset_settings=_runs(project, records, varied, list(best.values())),
    )


def publish(entity: str | None, project: str, records: Sequence[Record] = ()) -> str:
    """Save the workspace, a new one each time, and return its address.

    Args:
        entity: a user or team of W&B; None for the one that the login chooses.
        project: its project.
        records: see ``build``.

    Raises:
        UserError: nobody is logged in, the package is missing, or W&B can't be reached or refuses.
    """
    if not has_key():
        raise UserError(
            "compare.wandb=true: W&B knows no key here, or is told to stay offline (WANDB_MODE). Type `wandb login` first."
        )
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise UserError("compare.wandb=true wants wandb-workspaces: pip install -e '.[sweep]'") from error
    import wandb

    try:
        entity = entity or wandb.Api().default_entity
        if entity is None:
            raise UserError("logger.entity=null: the login names none; say whose project it is, logger.entity=NAME")
        wandb.termsetup(wandb.Settings(silent=True), None)  # the address is told by whoever asked for it
        return build(entity, project, records).save().url
    except UserError:
        raise
    except Exception as error:  # of W&B's client, its service or the network
        told = redact(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
        raise UserError(
            f"compare.wandb=true: the workspace could not be saved ({told}). Is W&B within reach, and is there a project "
            f"{f'{entity}/' if entity else ''}{project} (logger.entity, logger.project)? Its first run makes it."
        ) from error


def keys_that_differ(records: Sequence[Record]) -> list[str]:
    """Keys of the configuration that tell the runs apart: axes to lay them along.

    Those that were typed, but for the seed, and of a group that was chosen (``model=vae``) as many of its keys as tell more;
    single values that every run has.
    """
    flat = [record.keys for record in records]
    typed = {o.partition("=")[0].lstrip("+~") for record in records for o in record.overrides if not APART.match(o)}
    places = tuple(key.rpartition("@")[2].replace("/", ".") for key in typed)
    axes: list[str] = []

    def kinds(keys: list[str]) -> int:
        return len({tuple(each[key] for key in keys) for each in flat})

    for key in sorted(flat[0] if flat else (), key=lambda key: (not key.endswith("_target_"), key.count("."))):
        if any(key == place or key.startswith(f"{place}.") for place in places) and all(
            isinstance(each.get(key), str | int | float) for each in flat
        ):
            tells = kinds([key]) > 1 if key in places else kinds([*axes, key]) > kinds(axes)
            axes += [key] if tells else []
    return axes


def _runs(project: str, records: Sequence[Record], varied: list[str], columns: list[str]) -> "ws.RunsetSettings":
    """Which runs are shown: those of ``records`` alone, seeds together where there are several."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import Config, Metric

    pinned = [f"summary:{column}" for column in columns]
    if not records:
        return ws.RunsetSettings(pinned_columns=pinned)
    there = [r for r in records if (r.config.get("logger") or {}).get("project") == project and run_id(r.folder)]
    if not there:
        raise UserError(
            f"compare.wandb=true: none of these runs was logged to logger.project={project} in W&B (they were run with "
            "another logger or project)"
        )
    several = len(set(combinations(there))) < len(there)
    return ws.RunsetSettings(
        filters=[Metric("ID").isin([run_id(record.folder) for record in there])],
        groupby=[Config(key) for key in varied if several],
        pinned_columns=pinned,
    )


def _pictures(records: Sequence[Record]) -> list[str]:
    """The names under which pictures were logged: those of the files in ``samples/``."""
    files = (
        re.fullmatch(r"(?:(.+)-)?kimg-[\d.]+\.png", p.name) for r in records for p in r.folder.glob("samples/*.png")
    )
    return sorted({found[1] or "samples" for found in files if found}, key=lambda name: (name != "samples", name))


def _section(name: str, panels: list, **settings) -> "ws.Section":
    import wandb_workspaces.workspaces as ws

    return ws.Section(name=name, panels=panels, panel_settings=ws.SectionPanelSettings(x_axis="kimg"), **settings)


def _bars(score: str, summary: str) -> "wr.BarPlot":
    import wandb_workspaces.reports.v2 as wr

    kind = "lowest" if summary.endswith(".min") else "last"
    return wr.BarPlot(
        title=f"{score}, the {kind} of each run", metrics=[summary], max_runs_to_show=MANY, max_bars_to_show=MANY
    )


def _coordinates(score: str, summary: str, keys: list[str]) -> "wr.ParallelCoordinatesPlot":
    import wandb_workspaces.reports.v2 as wr

    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(key), log=key.endswith(".lr") or None) for key in keys]
    columns.append(wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(summary)))
    return wr.ParallelCoordinatesPlot(title=f"What {score} followed from", columns=columns)


def _score_curve(score: str) -> "wr.LinePlot":
    """A score in all evaluations: of few samples during training (``scores_500/fid``), of all at the end, of baselines."""
    import wandb_workspaces.reports.v2 as wr

    steep = score.startswith(("fid", "fd_")) or None  # from hundreds to a few
    return wr.LinePlot(
        title=score, x="kimg", metric_regex=rf"^scores(_\w+)?/{score}$", log_y=steep, max_runs_to_show=MANY
    )


def _curve(name: str) -> "wr.LinePlot":
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(title=name, x="kimg", y=[name], max_runs_to_show=MANY)


def _once(names: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(name for name in names if name))
