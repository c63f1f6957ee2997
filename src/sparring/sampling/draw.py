"""The pictures and files that ``task=sample`` makes of a run's generator."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.image_grids import columns_for, save_gif, save_image, side_by_side
from sparring.data.image_io import fit, read
from sparring.data.modalities.images import Images
from sparring.evaluation.generated_sets import Translated
from sparring.evaluation.sampler import Sampler
from sparring.games.game import Game
from sparring.sampling.directions import directions
from sparring.sampling.latent_space import Space
from sparring.sampling.projection import project
from sparring.sampling.translate_files import image_files
from sparring.storage.files import atomic_write, write_json
from sparring.training.callbacks.sample_grids import beside_targets

OWN = 8  # samples that are projected beside, to tell what optimisation finds of what the generator surely can make


def check(game: type[Game], kind: str, given: Path | None) -> None:
    """Raise UserError if a game of this class can't be drawn so, before its weights are read."""
    if kind not in KINDS:
        raise UserError(f"sample.kind={kind}: must be one of {', '.join(KINDS)}")
    if kind != "samples" and not game.walks:
        why = "answers to images" if game.translates else "has latents that are no space to walk in"
        raise UserError(f"sample.kind={kind}: this model, {game.__name__}, {why}; only sample.kind=samples draws it")
    if given and kind != "projection" and not game.translates:
        raise UserError(
            f"input={given}: this model makes images from noise; it answers to none (sample.kind=projection finds their latents)"
        )


def targets(
    sampler: Sampler, wanted: DictConfig, data: Data | None, given: Path | None, count: int
) -> tuple[Tensor, list[str]]:
    """Examples to be found in the latents, and their names: a person's own images (a file or folder), or ``count`` of the data, those
    that were held out if there are some.
    """
    if given:
        if not isinstance(sampler.game.modality, Images):
            raise UserError(
                f"input={given}: this model makes {sampler.game.modality.name}; leave it out, and some of its data are taken"
            )
        files, size = image_files(given), (wanted.image_size, wanted.channels)
        pixels = [torch.tensor(fit(read(file), *size)) for file in files]
        return torch.stack(pixels), [str(file) for file in files]
    held_out = sampler.example_count > 0
    images = (sampler.examples if held_out else data.columns)["images"]
    rows = torch.linspace(0, len(images) - 1, min(count, len(images))).long()  # data often lie by class
    return images[rows], [f"{'held-out ' * held_out}example {row}" for row in rows.tolist()]


def draw_answers(sampler: Sampler, wanted: DictConfig, out: Path) -> None:
    """What it makes of held-out examples: a grid, beside what was given and wanted, and single images."""
    save_image(beside_targets(sampler, wanted.count), out / "grid.png")
    answers = Translated(sampler, wanted.count)
    _write(sampler, answers.images(range(len(answers))), out)


def draw_samples(sampler: Sampler, classes: int, wanted: DictConfig, out: Path) -> None:
    """Samples: a grid, one by one, and walks through the latents."""
    game, modality = sampler.game, sampler.game.modality
    labels = choose_labels(wanted.classes, wanted.count, classes)
    latents = sampler.latents("sample", wanted.count)
    if wanted.truncation is not None:
        latents = game.truncate(latents, wanted.truncation)
    samples = sampler.show(latents, labels)
    columns = columns_for(wanted.count, len(wanted.classes or range(classes)))
    _picture(sampler, samples, columns, out / "grid.png")
    _draw_codes(sampler, latents[:10], out)
    if wanted.frames and game.walks:
        walk = game.interpolate(latents[:16], wanted.frames)
        frames = [modality.picture(sampler.show(z, None if labels is None else labels[:16]), 4) for z in walk]
        save_gif(frames, out / "interpolation.gif")
        print(f"a walk between the first {len(walk[0])} of them in {out / 'interpolation.gif'}")
    _write(sampler, samples, out)


def draw_directions(sampler: Sampler, classes: int, wanted: DictConfig, out: Path) -> None:
    """The directions that the first layers amplify most (SeFa): all of them from one sample, and each from several."""
    space = Space(sampler)
    labels = choose_labels(wanted.classes, wanted.rows, classes)
    found, shares = directions(space, min(wanted.rows, space.dim))
    _draw_ways(space, found, labels, wanted, out, "direction")
    with atomic_write(out / "directions.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, found.cpu().numpy())
    told = ", ".join(f"{share:.1%}" for share in shares.tolist())
    print(f"the directions themselves, {tuple(found.shape)} in {space.name}, in {out / 'directions.npy'}")
    print(f"each one's share of what the first layers do: {told}")


def draw_traversal(sampler: Sampler, classes: int, wanted: DictConfig, out: Path) -> None:
    """What the single numbers of a latent do, those that do most; of one sample all of them, and each of several."""
    space = Space(sampler)
    labels = choose_labels(wanted.classes, wanted.rows, classes)
    axes = space.strongest(min(wanted.rows, space.dim))
    _draw_ways(space, axes, labels, wanted, out, "traversal")
    print(f"numbers of {space.name}, row by row: {', '.join(map(str, axes.argmax(1).tolist()))}")
    _draw_codes(sampler, sampler.latents("sample", wanted.rows), out)


def draw_interpolation(sampler: Sampler, classes: int, wanted: DictConfig, out: Path) -> None:
    """Ways from each of a few samples to the next: as rows, and as an animation."""
    space, modality = Space(sampler), sampler.game.modality
    latents, labels = sampler.latents("sample", wanted.rows), choose_labels(wanted.classes, wanted.rows, classes)
    ways = [*sampler.game.interpolate(latents, wanted.steps - 1), latents.roll(-1, 0)]
    shown = [space.show(space.points(z, labels), labels) for z in ways]
    _picture(sampler, side_by_side(shown), wanted.steps, out / "interpolation.png")
    print(f"from each sample to the next, a row each, in {out / 'interpolation.png'}")
    if wanted.frames:
        walk = sampler.game.interpolate(latents, wanted.frames)
        columns = columns_for(wanted.rows, 0)
        save_gif(
            [modality.picture(space.show(space.points(z, labels), labels), columns) for z in walk],
            out / "interpolation.gif",
        )
        print(f"in {wanted.frames} steps in {out / 'interpolation.gif'}")


def draw_projection(
    sampler: Sampler, classes: int, wanted: DictConfig, out: Path, targets: Tensor, names: list[str]
) -> None:
    """Given examples, the nearest that the generator makes, and the nearest sample; as far as its own samples come back, too."""
    space = Space(sampler)
    labels = choose_labels(wanted.classes, wanted.classes and len(wanted.classes) or classes, classes)
    options = labels, wanted.iterations, wanted.restarts
    found = project(space, targets, *options)
    _picture(
        sampler,
        side_by_side([targets, found.found, found.nearest]),
        3 * columns_for(len(targets), 0),
        out / "projection.png",
    )
    with atomic_write(out / "points.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, found.points.cpu().numpy())
    told = labels if labels is None else labels[torch.arange(OWN) % len(labels)]
    own = project(space, space.show(space.sample("own", OWN, told), told), *options)
    rows = zip(names, found.psnr.tolist(), found.nearest_psnr.tolist(), strict=True)
    errors = [{"name": name, "psnr": psnr, "nearest_sample_psnr": nearest} for name, psnr, nearest in rows]
    if found.labels is not None:
        errors = [row | {"label": label} for row, label in zip(errors, found.labels.tolist(), strict=True)]
    write_json(out / "projection.json", {"space": space.name, "images": errors, "own_samples_psnr": own.psnr.tolist()})
    print(f"each beside its projection and the nearest of 1,000 samples in {out / 'projection.png'}")
    print(
        f"the points, {tuple(found.points.shape)} in {space.name}, in {out / 'points.npy'}; errors in {out / 'projection.json'}"
    )
    print(
        f"psnr: projected {found.psnr.mean():.2f} dB, nearest sample {found.nearest_psnr.mean():.2f} dB "
        f"({len(targets)} given); the generator's own samples {own.psnr.mean():.2f} dB"
    )


def _draw_codes(sampler: Sampler, latents: Tensor, out: Path) -> None:
    """Walks along the numbers to which a game gives a meaning, if it does."""
    for name, walk in sampler.game.traversals(latents).items():
        steps = [sampler.show(step) for step in walk]
        _picture(sampler, side_by_side(steps), len(steps), out / f"{name}.png")
        print(f"what {name} means, a column for each of its values, in {out / name}.png")


def _draw_ways(space: Space, ways: Tensor, labels: Tensor | None, wanted: DictConfig, out: Path, name: str) -> None:
    """Walks from one sample along all ``ways`` (n, dim), a row each; and along each of them from several samples."""
    points, first = space.sample("sample", wanted.rows, labels), []
    for i, way in enumerate(ways, start=1):
        steps = [space.show(step, labels) for step in space.walk(points, way, wanted.steps, wanted.reach)]
        _picture(space.sampler, side_by_side(steps), wanted.steps, out / f"{name}-{i}.png")
        first += [step[:1] for step in steps]
    _picture(space.sampler, torch.cat(first), wanted.steps, out / f"{name}s.png")
    print(
        f"{len(ways)} {name}s of one sample, a row each, in {out / f'{name}s.png'}, of {wanted.rows} samples in {name}-N.png"
    )


def _picture(sampler: Sampler, examples: Tensor, columns: int, path: Path) -> None:
    """Examples as a picture, and beside it as a file to be heard, watched or read where they are of that kind."""
    modality = sampler.game.modality
    save_image(modality.picture(examples, columns), path)
    if modality.has_combined_file:
        modality.write_combined(examples, path.with_suffix(modality.ending))


def _write(sampler: Sampler, samples: Tensor, out: Path) -> None:
    modality = sampler.game.modality
    what = modality.name if modality.name.endswith("s") else f"samples of {modality.name}"
    print(f"{len(samples)} {what} in {modality.write(samples, out)}, together as {out / 'grid.png'}")


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


KINDS: dict[str, Callable[..., None]] = {
    "samples": draw_samples,
    "directions": draw_directions,
    "traversal": draw_traversal,
    "interpolation": draw_interpolation,
    "projection": draw_projection,
}
