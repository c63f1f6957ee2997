"""A workspace in W&B that shows a project's runs side by side: scores, pictures, what differs, curves on kimg."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sparring.compare.records import Record
from sparring.compare.tables import DETAIL, NOT_VARIED, combinations
from sparring.config.errors import UserError
from sparring.config.extras import import_extra
from sparring.config.redaction import redact
from sparring.runs.wandb_run import has_key, run_id

if TYPE_CHECKING:
    import wandb_workspaces.workspaces as ws

# What is shown if no runs are given.
USUAL = [f"scores/{name}" for name in ("fid", "fd_classifier", "reverse_kl", "l1", "kid", "precision", "recall")]
USUAL += [f"scores/{name}" for name in ("density", "coverage", "modes_recovered", "psnr", "ssim")]
USUAL += ["discriminator/adversarial", "generator/adversarial", "D(x)", "D(G(z))", "diversity", "images_per_second"]
LEADING = ["fid", "fd_classifier", "reverse_kl", "l1"]  # each of a kind of evaluation, lower is better
PICTURES = ["samples", "reconstructions"]
KEYS = ["loss._target_", "optimizer.generator.lr", "optimizer.discriminator.lr", "n_dis", "data.batch_size"]
MANY = 100  # runs that a chart shows; W&B's default is ten


def build(entity: str, project: str, records: Sequence[Record] = ()) -> "ws.Workspace":
    """Return the workspace of a project.

    Args:
        entity: a user or team of W&B.
        project: its project.
        records: the runs to show, whose own scores, losses and pictures are laid out, with seeds averaged; without any,
            all runs of the project and the usual names.

    Raises:
        UserError: none of the runs was logged to that project.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    names, leading, grids, falling = USUAL, LEADING, PICTURES, {*LEADING, "kid"}
    if records:
        names = _once(name for record in records for name in record.curves)
        leading = _once(record.leading_score for record in records)
        grids = _pictures(records)
        entries = [entry for record in records for entry in record.evaluations]
        falling = {name for entry in entries for name in entry.get("lower_is_better", [])}
    scores = _once(n.partition("/")[2] for n in names if n.startswith("scores") and not DETAIL.search(n))
    curves = [name for name in names if not name.startswith("scores")]
    diagnostics = [name for name in curves if "/" not in name or name.endswith(("/gradient_norm", "/lr"))]
    leading = [name for name in leading if name in scores] or scores[:1]
    best = {name: f"scores/{name}.min" if name in falling else f"scores/{name}" for name in leading}  # W&B's summary
    varied = keys_that_differ(records)
    wide = ws.SectionLayoutSettings(columns=1, rows=1)

    def section(name: str, panels: list, **settings) -> ws.Section:
        return ws.Section(name=name, panels=panels, panel_settings=ws.SectionPanelSettings(x_axis="kimg"), **settings)

    def bars(name: str) -> wr.BarPlot:
        kind = "lowest" if name in falling else "last"
        return wr.BarPlot(
            title=f"{name}, the {kind} of each run", metrics=[best[name]], max_bars_to_show=MANY, max_runs_to_show=MANY
        )

    def coordinates(name: str) -> wr.ParallelCoordinatesPlot:
        column = wr.ParallelCoordinatesPlotColumn  # pyright: ignore[reportPrivateImportUsage]
        columns = [column(wr.Config(key), log=key.endswith(".lr") or None) for key in varied or KEYS]
        columns.append(column(wr.SummaryMetric(best[name])))
        return wr.ParallelCoordinatesPlot(title=f"What {name} followed from", columns=columns)

    def score_curve(name: str) -> wr.LinePlot:  # during training (scores_500/fid), at the end, of baselines
        pattern, steep = rf"^scores(_\w+)?/{name}$", name.startswith(("fid", "fd_")) or None  # from hundreds to a few
        return wr.LinePlot(title=name, x="kimg", metric_regex=pattern, log_y=steep, max_runs_to_show=MANY)

    def curve(name: str) -> wr.LinePlot:
        return wr.LinePlot(title=name, x="kimg", y=[name], max_runs_to_show=MANY)

    def browser(key: str) -> wr.MediaBrowser:
        return wr.MediaBrowser(title=key, media_keys=[key], grid_x_axis="run", grid_y_axis="step")

    differences = [*map(coordinates, leading), wr.RunComparer(diff_only="split")]
    sections = [
        section("Best scores", [*map(bars, leading)], is_open=True, pinned=True),
        section("Samples", [*map(browser, grids)], is_open=True, layout_settings=wide),
        section("What was varied", differences, is_open=bool(varied), layout_settings=wide),
        section("Scores over kimg", [*map(score_curve, scores)], is_open=True),
        section("Losses", [curve(name) for name in curves if name not in diagnostics]),
        section("Diagnostics", [*map(curve, diagnostics)]),
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"Sparring: {len(records)} runs" if records else "Sparring",
        sections=[each for each in sections if each.panels],
        settings=ws.WorkspaceSettings(x_axis="kimg", max_runs=MANY),
        runset_settings=_runs(project, records, varied, list(best.values())),
    )


def publish(entity: str | None, project: str, records: Sequence[Record] = ()) -> str:
    """Save a new workspace in W&B and return its address; see ``build``.

    Args:
        entity: a user or team of W&B; None for the default of the login.
        project: its project.
        records: the runs to show.

    Raises:
        UserError: nobody is logged in, wandb-workspaces is missing, or W&B can't be reached or refuses.
    """
    if not has_key():
        raise UserError("compare.wandb=true: W&B has no key here, or is offline (WANDB_MODE). Run `wandb login` first.")
    import_extra("wandb_workspaces", "sweep", "compare.wandb=true")
    import wandb

    try:
        entity = entity or wandb.Api().default_entity
        if entity is None:
            raise UserError(
                "logger.entity=null: the login has no default; name the project's owner, logger.entity=NAME"
            )
        wandb.termsetup(wandb.Settings(silent=True), None)  # the caller prints the address
        return build(entity, project, records).save().url
    except UserError:
        raise
    except Exception as error:  # of W&B's client, its service or the network
        text = redact(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
        owner = f"{entity}/" if entity else ""
        raise UserError(
            f"compare.wandb=true: the workspace could not be saved ({text}). Can W&B be reached, and is there a "
            f"project {owner}{project} (logger.entity, logger.project)? Its first run creates it."
        ) from error


def keys_that_differ(records: Sequence[Record]) -> list[str]:
    """Return the keys of the configuration that tell the runs apart, as axes of a chart.

    Overridden keys, except the seed, and of a chosen group (``model=vae``) as many of its keys as tell more runs apart;
    only single values that every run has.
    """
    overrides = [o for record in records for o in record.overrides if not NOT_VARIED.match(o)]
    chosen = {o.partition("=")[0].lstrip("+~").rpartition("@")[2].replace("/", ".") for o in overrides}
    axes: list[str] = []

    def combinations_of(keys: list[str]) -> int:
        return len({tuple(record.keys[key] for key in keys) for record in records})

    for key in sorted(
        records[0].keys if records else (), key=lambda key: (not key.endswith("_target_"), key.count("."))
    ):
        is_chosen = any(f"{key}.".startswith(f"{each}.") for each in chosen)
        if is_chosen and all(isinstance(record.keys.get(key), str | int | float) for record in records):
            tells = [key] if key in chosen else [*axes, key]
            if combinations_of(tells) > (1 if key in chosen else combinations_of(axes)):
                axes.append(key)
    return axes


def _runs(project: str, records: Sequence[Record], varied: list[str], columns: list[str]) -> "ws.RunsetSettings":
    """Show the given runs alone, with the seeds of a combination in a group."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import Config, Metric

    pinned = [f"summary:{column}" for column in columns]
    if not records:
        return ws.RunsetSettings(pinned_columns=pinned)
    logged = [r for r in records if (r.config.get("logger") or {}).get("project") == project and run_id(r.folder)]
    if not logged:
        raise UserError(
            f"compare.wandb=true: none of these runs was logged to logger.project={project} in W&B (they were run with "
            "another logger or project)"
        )
    over_seeds = len(set(combinations(logged))) < len(logged)
    return ws.RunsetSettings(
        filters=[Metric("ID").isin([run_id(record.folder) for record in logged])],
        groupby=[Config(key) for key in varied if over_seeds],
        pinned_columns=pinned,
    )


def _pictures(records: Sequence[Record]) -> list[str]:
    """Return the names under which pictures were logged: those of the files in ``samples/``."""
    files = [path.name for record in records for path in record.folder.glob("samples/*.png")]
    matches = [re.fullmatch(r"(?:(.+)-)?kimg-[\d.]+\.png", name) for name in files]
    names = {match[1] or "samples" for match in matches if match}
    return sorted(names, key=lambda name: (name != "samples", name))


def _once(names: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(name for name in names if name))
