"""The text at the end of a command: scores with their protocol, files, and the next commands."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from sparring.storage.files import read_json


def scores_table(entry: dict, lower_is_better: list[str]) -> str:
    """Return an entry of ``scores.json`` as aligned text.

    Args:
        entry: the entry.
        lower_is_better: names of scores.
    """
    protocol, baselines = entry["protocol"], entry.get("baselines", {})
    rows: list[tuple[str, ...]] = (
        [("", "answers" if "of" in protocol else "samples", *baselines, "", "")] if baselines else []
    )
    for name in entry["scores"]:
        if not re.fullmatch(r"(\w+)_(low|high|sd|std)", name):
            values = [_number(each.get(name, "")) for each in (entry["scores"], *baselines.values())]
            rows.append((name, *values, better_direction(name, lower_is_better), _spread(name, entry)))
    widths = [max(len(row[i]) for row in rows) for i in range(2 + len(baselines))]
    lines = []
    for name, *values, better, spread in rows:
        aligned = "  ".join(f"{value:>{width}}" for value, width in zip(values, widths[1:], strict=True))
        lines.append(f"  {name:<{widths[0]}}  {aligned}  {better}  {spread}".rstrip())
    when = "" if entry["kimg"] is None else f" at {entry['kimg']:.1f} kimg, iteration {entry['iteration']:,}"
    return "\n".join([f"Scores{when}", *lines, *_protocol_lines(protocol)])


def _number(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _spread(name: str, entry: dict) -> str:
    scores = entry["scores"]
    if f"{name}_sd" in scores:
        return f"± {scores[f'{name}_sd']:.2g} over {len(entry['protocol']['seeds'])} sampling seeds"
    if f"{name}_low" in scores:
        return f"[{scores[f'{name}_low']:.4g}, {scores[f'{name}_high']:.4g}]"
    return f"± {scores[f'{name}_std']:.2g} over splits" if f"{name}_std" in scores else ""


def better_direction(name: str, lower_is_better: list[str]) -> str:
    """Return which values of a score are good, in words; empty where neither direction is."""
    if name.startswith("class_share_") or name in ("reconstruction", "kl"):
        return ""
    if name == "within_mode_spread":
        return "1 is best"
    if name == "self_bleu":  # larger: samples are too alike; smaller: they are no such text
        return "best as training text's"
    return "lower is better" if name in lower_is_better else "higher is better"


def _protocol_lines(p: dict) -> list[str]:
    source = f"of {p['fakes']}"
    if "ema" in p:
        generator, seeds = "averaged" if p["ema"] else "raw", ", ".join(map(str, p["seeds"]))
        source = f"of the {generator} generator (batch norm: {p['batch_norm']}, seed {seeds})"
    if "temperature" in p:
        source += f", temperature {p['temperature']:g}"
    kind = f"answers to {p['of']}" if "of" in p else "samples"
    split = f", split: {p['split']}" if p.get("split") else ""
    lines = [
        f"  from {p['samples']:,} {kind} {source}",
        f"  compared with {p['reals']:,} of {p['reals_available']:,} reals ({p['real_images']}{split})",
    ]
    if p["extractor"] != "none":
        lines.append(f"  in features of {p['extractor']}, weights {p['weights']}, {p['resize']}, {p['precision']}")
    for name, facts in p["metrics"].items():
        lines.append(f"  {name}: " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items()))
    if "memorization" in p["metrics"] and p["reals"] < p["reals_available"]:
        others = p["reals_available"] - p["reals"]
        lines.append(f"  Copies of the {others:,} other reals can't be found (evaluation.reals=all).")
    for name, reason in p["refused"].items():
        lines.append(f"  no {name}: {reason.partition(chr(10))[0]}")  # the rest was printed when it happened
    return [*lines, _comparability(p)]


def _comparability(p: dict) -> str:
    if "classifier_accuracy" in p:
        doubt = ""
        if "largest_class" in p:
            doubt = f", hardly more than the {p['largest_class']:.1%} of the largest class: THE SCORES MEAN LITTLE"
        accuracy = f"{p['classifier_accuracy']:.1%} of held-out reals{doubt}"
        return f"  The classifier recognises {accuracy}. Comparable on these data only."
    if p["differs_from_record"]:
        return "  Not comparable with published scores: " + "; ".join(p["differs_from_record"]) + "."
    return "  The protocol of record: comparable with published scores."


def best_line(folder: Path, lower_is_better: list[str]) -> str:
    """Return a line on the checkpoint with the best score during training; empty if there is none."""
    for name in lower_is_better:
        path = folder / "checkpoints" / f"best_by_{name}.ckpt"
        if path.exists():
            entries = [e for e in read_json(folder / "scores.json", list) if e.get("kept_as") == path.name]
            if not entries:
                return f"{path.name} is of a part of the run that was done again."
            best = entries[-1]
            return (
                f"Best by {name} during training: {best['scores'][name]:.4g} at {best['kimg']:.1f} kimg "
                f"({best['protocol']['samples']:,} samples), kept as {path.name}. Chosen by its score, so not the one "
                "to report."
            )
    return ""


def quoted_override(key: str, folder: Path) -> str:
    """Return ``key=folder``, quoted if a shell or Hydra could not read it otherwise."""
    plain = re.fullmatch(r"[\w./-]+", str(folder), re.ASCII)
    return f"{key}={folder}" if plain else f"'{key}=\"{folder}\"'"


def program() -> str:
    """Return what starts this program: ``sparring`` where it was installed, ``python run.py`` in a clone."""
    return "sparring" if Path(sys.argv[0]).stem == "sparring" else "python run.py"


def resume_command(folder: Path, overrides: Sequence[str]) -> str:
    """Return the command that resumes a run; each command names the cache folder again."""
    cache = [override for override in overrides if override.startswith("cache=")]
    return " ".join([program(), quoted_override("resume", folder), *cache])


def where_files_are(folder: Path, samples: Path | None, checkpoint: Path | None) -> str:
    """Return where a run's files are, and the command that draws more samples."""
    return (
        f"Samples     {samples}\n"
        f"Checkpoint  {checkpoint}\n"
        f"Run         {folder}\n"
        f"More of it  {program()} task=sample {quoted_override('run', folder)}"
    )
