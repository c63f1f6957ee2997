"""Report an augmentation study: a table with verdicts, and charts with intervals."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

COLOURS = ["#0072b2", "#d55e00", "#009e73"]  # distinct to the colour-blind too (Okabe & Ito 2008)


def verdict(low: float, high: float) -> str:
    """Return what the interval of a gain means."""
    return "helps" if low > 0 else "hurts" if high < 0 else "no difference seen"


def table(result: Mapping) -> str:
    """Return a study's accuracies and gains in percent as aligned text, with what is needed to read them."""
    scores, facts = result["scores"], result["protocol"]
    m, sizes = facts["generated_per_class"], facts["long_tail_sizes"]
    rows = [("  trained on, images a class", "accuracy", "gain", "its interval", "")]
    for n in facts["real_per_class"]:
        rows.append((f"  {n} real", *_cells(scores, f"real_{n}")))
        rows.append((f"    and {m} generated", *_cells(scores, f"real_{n}_generated", f"gain_{n}")))
    rows.append((f"  {m} generated alone", *_cells(scores, "generated")))
    if sizes is not None:
        rows.append((f"  long tail, {sizes[0]} to {sizes[-1]} real", *_cells(scores, "long_tail")))
        for name, end in (("rare classes repeated", "resampled"), ("filled by the generator", "filled")):
            rows.append((f"    {name}", *_cells(scores, f"long_tail_{end}", f"gain_long_tail_{end}")))
        cells = _cells(scores, "long_tail_filled", "gain_long_tail_filled_over_resampled")
        rows.append(("      against rare classes repeated", "", *cells[1:]))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}  {e}".rstrip()
        for a, b, c, d, e in rows
    ]
    seen = "the generator was trained on these too" if facts["test_seen_by_generator"] else "unseen by the generator"
    notes = f"""\
Accuracy in percent, mean over classes, on {facts["test_images"]:,} held-out reals: {facts["test_source"]};
{seen}. The generator was trained on {facts["generator_trained_on"]:,} real images, however few a classifier had.
± and brackets: 95% intervals over {len(facts["seeds"])} seeds (reals, fakes, initial weights) of this one generator.
Every classifier was trained on {facts["steps"]} batches of 128, with every image, real or generated, equally often."""
    return "\n".join(["Does training on generated images help?", *lines, *(f"  {note}" for note in notes.splitlines())])


def _cells(scores: Mapping[str, float], arm: str, gain: str | None = None) -> tuple[str, str, str, str]:
    mean, high = scores[f"accuracy_{arm}"], scores[f"accuracy_{arm}_high"]
    accuracy = f"{100 * mean:.1f} ± {100 * (high - mean):4.1f}"
    if gain is None:
        return accuracy, "", "", ""
    low, high = scores[f"{gain}_low"], scores[f"{gain}_high"]
    return accuracy, f"{100 * scores[gain]:+.1f}", f"[{100 * low:+.1f}, {100 * high:+.1f}]", verdict(low, high)


def pictures(result: Mapping) -> dict[str, Tensor]:
    """Draw a study's accuracy over the number of reals, and that of the long tail by class."""
    scores, per_class, facts = result["scores"], result["per_class"], result["protocol"]

    def point(arm: str) -> tuple[float, float]:
        return scores[f"accuracy_{arm}"], scores[f"accuracy_{arm}_high"] - scores[f"accuracy_{arm}"]

    reals, m = facts["real_per_class"], facts["generated_per_class"]
    lines = {
        "real": [point(f"real_{n}") for n in reals],
        f"real and {m} generated": [point(f"real_{n}_generated") for n in reals],
        f"{m} generated alone": [point("generated")] * len(reals),
    }
    charts = {"augmentation": curves(lines, list(map(math.log, reals)), list(map(str, reals)), "real images a class")}
    if facts["long_tail_sizes"] is not None:
        names = {"": "long tail", "_resampled": "rare classes repeated", "_filled": "filled by the generator"}
        lines = {name: list(per_class[f"long_tail{end}"].values()) for end, name in names.items()}
        sizes = zip(per_class["long_tail"], facts["long_tail_sizes"], strict=True)
        ticks = [f"{name[:10]}\n{size}" for name, size in sizes]
        charts["augmentation_long_tail"] = curves(lines, range(len(ticks)), ticks, "class, and its real images")
    return charts


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]], positions: Sequence[float], ticks: Sequence[str], axis: str
) -> Tensor:
    """Draw at most three lines of accuracies with their intervals, (3, 480, 720) uint8.

    Each point of a line is an accuracy and half of its interval, as shares. ``ticks`` label the positions.
    """
    figure = Figure(figsize=(7.2, 4.8), dpi=100, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    for colour, (name, points) in zip(COLOURS, lines.items(), strict=False):
        mean, half = 100 * np.array(points).T
        axes.errorbar(positions, mean, half, fmt="o-", color=colour, capsize=3, label=name)
        axes.fill_between(positions, mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2), min(high, 102))
    every = -(-len(ticks) // 12)
    axes.set_xticks(list(positions)[::every], list(ticks)[::every])
    axes.set(xlabel=axis, ylabel="accuracy in percent, with 95% intervals")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e0e0e0")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    canvas.draw()
    return torch.tensor(np.asarray(canvas.buffer_rgba())[:, :, :3]).permute(2, 0, 1).contiguous()
