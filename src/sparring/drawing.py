"""The pictures and files that ``task=sample`` makes of a run's generator."""

from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from sparring.callbacks.samples import beside_targets
from sparring.errors import UserError
from sparring.evaluation.gallery import Gallery
from sparring.evaluation.made import Answers
from sparring.pictures import columns_for, save_gif, save_image, side_by_side


def draw_answers(gallery: Gallery, wanted: DictConfig, out: Path) -> None:
    """What it makes of held-out examples: a grid, beside what was given and wanted, and single images."""
    save_image(beside_targets(gallery, wanted.count), out / "grid.png")
    answers = Answers(gallery, wanted.count)
    _write(gallery, answers.images(range(len(answers))), out)


def draw_samples(gallery: Gallery, classes: int, wanted: DictConfig, out: Path) -> None:
    """Samples: a grid, one by one, and walks through the latents."""
    game, modality = gallery.game, gallery.game.modality
    labels = choose_labels(wanted.classes, wanted.count, classes)
    latents = gallery.latents("sample", wanted.count)
    if wanted.truncation is not None:
        latents = game.truncate(latents, wanted.truncation)
    samples = gallery.show(latents, labels)
    save_image(
        modality.picture(samples, columns_for(wanted.count, len(wanted.classes or range(classes)))), out / "grid.png"
    )
    if modality.plays:
        modality.play(samples, out / f"samples{modality.ending}")
        print(f"one after the other in {out / f'samples{modality.ending}'}")
    for name, walk in game.traversals(latents[:10]).items():
        steps = [gallery.show(step) for step in walk]
        save_image(modality.picture(side_by_side(steps), len(steps)), out / f"{name}.png")
        print(f"what {name} means, a column for each of its values, in {out / name}.png")
    if wanted.frames and game.walks:
        walk = game.interpolate(latents[:16], wanted.frames)
        frames = [modality.picture(gallery.show(z, None if labels is None else labels[:16]), 4) for z in walk]
        save_gif(frames, out / "interpolation.gif")
        print(f"a walk between the first {len(walk[0])} of them in {out / 'interpolation.gif'}")
    _write(gallery, samples, out)


def _write(gallery: Gallery, samples: Tensor, out: Path) -> None:
    modality = gallery.game.modality
    print(f"{len(samples)} {modality.name} in {modality.write(samples, out)}, together as {out / 'grid.png'}")


def choose_labels(wanted: list[int] | None, count: int, classes: int) -> Tensor | None:
    """Labels (count,) that cycle through the wanted classes, or all; None for an unconditional generator."""
    if wanted is not None and not classes:
        raise UserError(f"sample.classes={wanted}: this generator is unconditional (model.conditional=false)")
    if not classes:
        return None
    chosen = torch.tensor(list(range(classes)) if wanted is None else list(wanted))
    if len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= classes:
        raise UserError(f"sample.classes={wanted}: classes are 0 to {classes - 1}")
    return chosen[torch.arange(count) % len(chosen)]
