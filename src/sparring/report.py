"""What a person reads at the end: the scores, what they were made of, and where everything is."""

import re
from pathlib import Path


def scores_table(entry: dict, lower_is_better: set[str]) -> str:
    """An entry of ``scores.json`` as aligned text."""
    rows = [
        (
            name,
            f"{value:.4g}" if isinstance(value, float) else str(value),
            "lower" if name in lower_is_better else "higher",
        )
        for name, value in entry["scores"].items()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    lines = [f"  {name:<{widths[0]}}  {value:>{widths[1]}}  {better} is better" for name, value, better in rows]
    p = entry["protocol"]
    made_of = (
        f"{p['samples']:,} samples of the {'averaged' if p['ema'] else 'raw'} generator (batch norm: {p['batch_norm']}, "
        f"seed {p['seed']}) against {p['reals']:,} reals (split: {p['split']}),\n"
        f"  in the features of: {p['extractor']} {p['weights']}"
    )
    if "classifier_accuracy" in p:
        made_of += f", which recognises {p['classifier_accuracy']:.1%} of held-out reals; comparable on these data only"
    return (
        f"Scores at {entry['kimg']:.1f} kimg, iteration {entry['iteration']:,}\n"
        + "\n".join(lines)
        + f"\n  from {made_of}"
    )


def typed(key: str, folder: Path) -> str:
    """``key=folder`` as a shell and Hydra both read it."""
    plain = re.fullmatch(r"[\w./-]+", str(folder), re.ASCII)
    return f"{key}={folder}" if plain else f"'{key}=\"{folder}\"'"


def places(folder: Path, samples: Path | None, checkpoint: Path | None) -> str:
    """Where the run lies, and what can be done with it next."""
    return (
        f"Samples     {samples}\n"
        f"Checkpoint  {checkpoint}\n"
        f"Run         {folder}\n"
        f"More of it  python run.py task=sample {typed('run', folder)}"
    )
