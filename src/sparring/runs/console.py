"""What a person reads at the end: the scores, what they were made of, and where everything is."""

import re
from collections.abc import Sequence
from pathlib import Path

from sparring.storage.files import read_json


def scores_table(entry: dict, lower_is_better: list[str]) -> str:
    """An entry of ``scores.json`` as aligned text."""
    scores, p = entry["scores"], entry["protocol"]
    beside = entry.get("baselines", {})
    rows = [("", "answers" if "of" in p else "samples", *beside, "", "")] if beside else []
    for name, value in scores.items():
        if re.fullmatch(r"(\w+)_(low|high|sd|std)", name):
            continue
        apart = ""
        if f"{name}_sd" in scores:
            apart = f"± {scores[f'{name}_sd']:.2g} over {len(p['seeds'])} sampling seeds"
        elif f"{name}_low" in scores:
            apart = f"[{scores[f'{name}_low']:.4g}, {scores[f'{name}_high']:.4g}]"
        elif f"{name}_std" in scores:
            apart = f"± {scores[f'{name}_std']:.2g} over splits"
        values = [_number(value), *(_number(found[name]) if name in found else "" for found in beside.values())]
        rows.append((name, *values, better_direction(name, lower_is_better), apart))
    widths = [max(len(row[i]) for row in rows) for i in range(2 + len(beside))]
    lines = []
    for name, *values, better, apart in rows:
        aligned = "  ".join(f"{value:>{width}}" for value, width in zip(values, widths[1:], strict=True))
        lines.append(f"  {name:<{widths[0]}}  {aligned}  {better}  {apart}".rstrip())
    when = "" if entry["kimg"] is None else f" at {entry['kimg']:.1f} kimg, iteration {entry['iteration']:,}"
    return f"Scores{when}\n" + "\n".join(lines) + "\n" + _made_of(p)


def _number(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def better_direction(name: str, lower_is_better: list[str]) -> str:
    """Which values of a score are good, in words; empty where that can't be said."""
    if name.startswith("class_share_") or name in ("reconstruction", "kl"):
        return ""
    if name == "within_mode_spread":
        return "1 is best"
    if name == "self_bleu":  # larger: samples are too alike; smaller: they are no such text
        return "best as training text's"
    return "lower is better" if name in lower_is_better else "higher is better"


def _made_of(p: dict) -> str:
    of = f"of {p['fakes']}"
    if "ema" in p:
        of = f"of the {'averaged' if p['ema'] else 'raw'} generator (batch norm: {p['batch_norm']}, seed {_list(p['seeds'])})"
    split = f", split: {p['split']}" if p.get("split") else ""
    kind = f"answers to {p['of']}" if "of" in p else "samples"
    of += f", temperature {p['temperature']:g}" if "temperature" in p else ""
    lines = [
        f"  from {p['samples']:,} {kind} {of}",
        f"  beside {p['reals']:,} of {p['reals_available']:,} reals ({p['real_images']}{split})",
        f"  in features of {p['extractor']}, weights {p['weights']}, {p['resize']}, {p['precision']}",
    ]
    if p["extractor"] == "none":
        lines.pop()
    for name, kept in p["metrics"].items():
        lines.append(f"  {name}: " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in kept.items()))
    if "memorization" in p["metrics"] and p["reals"] < p["reals_available"]:
        lines.append(
            f"  Copies of the {p['reals_available'] - p['reals']:,} other reals can't be found (evaluation.reals=all)."
        )
    lines += [
        f"  no {name}: {reason.partition(chr(10))[0]}" for name, reason in p["refused"].items()
    ]  # all was said before
    if "classifier_accuracy" in p:
        doubt = ""
        if "largest_class" in p:
            doubt = f", hardly more than the {p['largest_class']:.1%} of the largest class: THE SCORES MEAN LITTLE"
        lines.append(
            f"  The classifier recognises {p['classifier_accuracy']:.1%} of held-out reals{doubt}. Comparable on these data only."
        )
    elif p["differs_from_record"]:
        lines.append("  Not comparable with published scores: " + "; ".join(p["differs_from_record"]) + ".")
    else:
        lines.append("  The protocol of record: comparable with published scores.")
    return "\n".join(lines)


def best_line(folder: Path, lower_is_better: list[str]) -> str:
    """Which checkpoint scored best during training, or nothing where none was kept."""
    for name in lower_is_better:
        path = folder / "checkpoints" / f"best_by_{name}.ckpt"
        if path.exists():
            during = [e for e in read_json(folder / "scores.json", list) if e.get("kept_as") == path.name]
            if not during:
                return f"{path.name} is of a part of the run that was done again."
            best = during[-1]
            return (
                f"Best by {name} during training: {best['scores'][name]:.4g} at {best['kimg']:.1f} kimg "
                f"({best['protocol']['samples']:,} samples), kept as {path.name}. Chosen by its score, so not the one to report."
            )
    return ""


def _list(values: list) -> str:
    return ", ".join(map(str, values))


def quoted_override(key: str, folder: Path) -> str:
    """``key=folder`` as a shell and Hydra both read it."""
    plain = re.fullmatch(r"[\w./-]+", str(folder), re.ASCII)
    return f"{key}={folder}" if plain else f"'{key}=\"{folder}\"'"


def resume_command(folder: Path, overrides: Sequence[str]) -> str:
    """The command that goes on with a run. Where the cache is, every command says anew."""
    return " ".join(
        ["python run.py", quoted_override("resume", folder), *(o for o in overrides if o.startswith("cache="))]
    )


def where_files_are(folder: Path, samples: Path | None, checkpoint: Path | None) -> str:
    """Where the run lies, and what can be done with it next."""
    return (
        f"Samples     {samples}\n"
        f"Checkpoint  {checkpoint}\n"
        f"Run         {folder}\n"
        f"More of it  python run.py task=sample {quoted_override('run', folder)}"
    )
