"""What a person sees of an augmentation study: a table with verdicts, and curves with their intervals."""

import math
from collections.abc import Mapping, Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

COLOURS = ["#0072b2", "#d55e00", "#009e73"]  # told apart by the colour-blind too (Okabe & Ito 2008)


def verdict(low: float, high: float) -> str:
    """What an interval of a gain says."""
    return "helps" if low > 0 else "hurts" if high < 0 else "no difference seen"


def table(result: Mapping) -> str:
    """Accuracies and gains in percent as aligned text, and what has to be known to read them; of what a study returns."""
    scores, facts = result["scores"], result["protocol"]
    m, sizes = facts["generated_per_class"], facts["long_tail_sizes"]
    rows = [("  learnt from, images a class", "accuracy", "gain", "its interval", "")]
    for n in facts["real_per_class"]:
        rows.append((f"  {n} real", *_shown(scores, f"real_{n}")))
        rows.append((f"    and {m} generated", *_shown(scores, f"real_{n}_generated", f"gain_{n}")))
    rows.append((f"  {m} generated alone", *_shown(scores, "generated")))
    if sizes is not None:
        rows.append((f"  long tail, {sizes[0]} to {sizes[-1]} real", *_shown(scores, "long_tail")))
        for told, end in (("rare classes repeated", "resampled"), ("filled by the generator", "filled")):
            rows.append((f"    {told}", *_shown(scores, f"long_tail_{end}", f"gain_long_tail_{end}")))
        beside = _shown(scores, "long_tail_filled", "gain_long_tail_filled_over_resampled")
        rows.append(("      beside rare classes repeated", "", *beside[1:]))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}  {e}".rstrip()
        for a, b, c, d, e in rows
    ]
    seen = "the generator has seen these too" if facts["test_seen_by_generator"] else "which the generator has not seen"
    lines += [
        f"  Accuracy in percent, mean over classes, on {facts['test_images']:,} held-out reals: {facts['test_source']};",
        f"  {seen}. The generator has seen {facts['generator_trained_on']:,} real images, however few a classifier was given.",
        f"  ± and brackets: 95% intervals over {len(facts['seeds'])} seeds (other reals, fakes, initial weights), of this one generator.",
        f"  Every classifier learnt for {facts['steps']} batches of 128, with every image, real or generated, equally often.",
    ]
    return "\n".join(["Does training on generated images help?", *lines])


def _shown(scores: Mapping[str, float], arm: str, gain: str | None = None) -> tuple[str, str, str, str]:
    mean, high = scores[f"accuracy_{arm}"], scores[f"accuracy_{arm}_high"]
    told = f"{100 * mean:.1f} ± {100 * (high - mean):4.1f}"
    if gain is None:
        return told, "", "", ""
    low, high = scores[f"{gain}_low"], scores[f"{gain}_high"]
    return told, f"{100 * scores[gain]:+.1f}", f"[{100 * low:+.1f}, {100 * high:+.1f}]", verdict(low, high)


def pictures(result: Mapping) -> dict[str, Tensor]:
    """Accuracy over the number of reals, and of the long tail class by class; of what a study returns."""
    scores, per_class, facts = result["scores"], result["per_class"], result["protocol"]

    def point(arm: str) -> tuple[float, float]:
        return scores[f"accuracy_{arm}"], scores[f"accuracy_{arm}_high"] - scores[f"accuracy_{arm}"]

    reals, m = facts["real_per_class"], facts["generated_per_class"]
    lines = {
        "real": [point(f"real_{n}") for n in reals],
        f"real and {m} generated": [point(f"real_{n}_generated") for n in reals],
        f"{m} generated alone": [point("generated")] * len(reals),
    }
    found = {"augmentation": curves(lines, list(map(math.log, reals)), list(map(str, reals)), "real images a class")}
    if facts["long_tail_sizes"] is not None:
        told = {"": "long tail", "_resampled": "rare classes repeated", "_filled": "filled by the generator"}
        lines = {name: list(per_class[f"long_tail{end}"].values()) for end, name in told.items()}
        sizes = zip(per_class["long_tail"], facts["long_tail_sizes"], strict=True)
        ticks = [f"{name[:10]}\n{size}" for name, size in sizes]
        found["augmentation_long_tail"] = curves(lines, range(len(ticks)), ticks, "class, and its real images")
    return found


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]], places: Sequence[float], ticks: Sequence[str], axis: str
) -> Tensor:
    """A picture (3, 480, 720) uint8 of accuracies over ``places``: at most three lines, each with a band.

    Args:
        lines: by name, at each place the accuracy and half of its interval, as shares.
        places: where they stand, ascending.
        ticks: what is written there.
        axis: what the places are.
    """
    scale, width, height = 2, 720, 480  # drawn at twice the size, so that edges are smooth
    left, right, top, bottom = (scale * side for side in (64, width - 24, 56, height - 68))
    picture = Image.new("RGB", (scale * width, scale * height), "white")
    draw, font = ImageDraw.Draw(picture, "RGBA"), ImageFont.load_default(scale * 13)
    ends = [mean + sign * half for line in lines.values() for mean, half in line for sign in (-1, 1)]
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2) if s == 0.2 or max(ends) - min(ends) <= 7 * s)
    low, high = max(0, math.floor(min(ends) / step)), min(round(1 / step), math.ceil(max(ends) / step))
    high = max(high, low + 1)
    reach = max(places[-1] - places[0], 1e-9) if len(places) > 1 else 0

    def column(place: float) -> float:
        share = (place - places[0]) / reach if reach else 0.5
        return left + (right - left) * (0.04 + 0.92 * share)

    def row(value: float) -> float:
        return bottom - (bottom - top) * (min(max(value / step, low), high) - low) / (high - low)

    for i in range(low, high + 1):
        draw.line((left, row(i * step), right, row(i * step)), "#e0e0e0", scale)
        draw.text((left - 8 * scale, row(i * step)), f"{100 * i * step:.0f}%", "#404040", font, "rm")
    every = -(-len(ticks) // 12)
    for place, tick in list(zip(places, ticks, strict=True))[::every]:
        draw.line((column(place), bottom, column(place), bottom + 5 * scale), "#808080", scale)
        draw.text((column(place), bottom + 9 * scale), tick, "#404040", font, "ma", align="center")
    draw.line((left, bottom, right, bottom), "#808080", scale)
    draw.text(((left + right) / 2, bottom + 46 * scale), axis, "#404040", font, "mt")
    draw.text((left, 12 * scale), "accuracy, with 95% intervals", "#404040", font, "lt")
    after = left
    for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
        above = [(column(x), row(mean + half)) for x, (mean, half) in zip(places, line, strict=True)]
        below = [(column(x), row(mean - half)) for x, (mean, half) in zip(places, line, strict=True)]
        means = [(column(x), row(mean)) for x, (mean, _) in zip(places, line, strict=True)]
        if len(line) > 1:
            draw.polygon(above + below[::-1], fill=f"{colour}30")
            draw.line(means, colour, 2 * scale)
        for upper, lower, (x, y) in zip(above, below, means, strict=True):
            draw.line((*upper, *lower), colour, scale)
            draw.ellipse((x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale), fill=colour)
        draw.rectangle((after, 36 * scale, after + 14 * scale, 44 * scale), fill=colour)
        draw.text((after + 20 * scale, 40 * scale), name, "#404040", font, "lm")
        after += 44 * scale + font.getlength(name)
    return pil_to_tensor(picture.resize((width, height), Image.Resampling.LANCZOS)).to(torch.uint8)
