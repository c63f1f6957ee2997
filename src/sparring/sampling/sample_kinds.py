"""task=sample: draw samples, directions, traversals, interpolations or projections (``sample.kind``) of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.image_grids import columns_for, save_gif, save_image, side_by_side
from sparring.data.image_io import read
from sparring.data.image_resizing import fit
from sparring.data.modalities.base import Modality
from sparring.data.modalities.images import Images
from sparring.evaluation.generated_sets import Translated
from sparring.evaluation.sampler import Sampler
from sparring.games.game import Game
from sparring.sampling.directions import directions
from sparring.sampling.labels import cycle_labels
from sparring.sampling.latent_space import Space
from sparring.sampling.projection import project
from sparring.sampling.translate_files import image_files
from sparring.storage.files import atomic_write, write_json
from sparring.training.callbacks.sample_grids import translation_grid

OWN_SAMPLES = 8  # projected for comparison: examples that the generator can make for certain


def check(game: type[Game], kind: str, input_path: Path | None) -> None:
    """Raise UserError if a game of this class can't be drawn so. Its weights are not read yet."""
    if kind not in KINDS:
        raise UserError(f"sample.kind={kind}: must be one of {', '.join(KINDS)}")
    if kind != "samples" and not game.walks:
        reason = "answers to images" if game.translates else "has latents that are no space to walk in"
        raise UserError(f"sample.kind={kind}: this model, {game.__name__}, {reason}; only sample.kind=samples draws it")
    if input_path and kind != "projection" and not game.translates:
        raise UserError(
            f"input={input_path}: this model makes images from noise and takes no images "
            "(sample.kind=projection finds their latents)"
        )


@dataclass
class Drawing:
    """The files that ``task=sample`` writes of a generator: a method for each ``sample.kind``."""

    sampler: Sampler
    settings: DictConfig  # the ``sample`` section
    facts: DictConfig  # the ``data`` section of the run
    out: Path
    data: Data | None = None  # to project
    input_path: Path | None = None  # images to project instead

    def __post_init__(self):
        self.game: Any = self.sampler.game
        self.modality: Modality = self.game.modality
        self.num_classes = self.facts.num_classes if self.game.conditional else 0

    def translations(self) -> None:
        """Translate held-out examples: a grid with their inputs and targets, and single files."""
        save_image(translation_grid(self.sampler, self.settings.count), self.out / "grid.png")
        answers = Translated(self.sampler, self.settings.count)
        self._write(answers.images(range(len(answers))))

    def samples(self) -> None:
        """Draw samples: a grid, single files, and a walk between the first 16."""
        count = self.settings.count
        labels, latents = self._labels(count), self.sampler.latents("sample", count)
        if self.settings.truncation is not None:
            latents = self.game.truncate(latents, self.settings.truncation)
        samples = self.sampler.show(latents, labels)
        columns = columns_for(count, len(self.settings.classes or range(self.num_classes)))
        self._picture(samples, columns, "grid.png")
        self._draw_codes(latents[:10])
        if self.settings.frames and self.game.walks:
            walk = self.game.interpolate(latents[:16], self.settings.frames)
            labels = None if labels is None else labels[:16]
            self._gif([self.sampler.show(z, labels) for z in walk], 4)
            print(f"a walk between the first {len(walk[0])} of them in {self.out / 'interpolation.gif'}")
        self._write(samples)

    def directions(self) -> None:
        """Draw walks along the directions that the first layers amplify most (SeFa), and store the directions."""
        space = Space(self.sampler)
        vectors, shares = directions(space, min(self.settings.rows, space.dim))
        self._draw_walks(space, vectors, "direction")
        self._save_array(vectors, "directions.npy")
        print(f"the directions themselves, {tuple(vectors.shape)} in {space.name}, in {self.out / 'directions.npy'}")
        print(f"each one's share of what the first layers do: {', '.join(f'{s:.1%}' for s in shares.tolist())}")

    def traversal(self) -> None:
        """Draw walks along the single numbers of a latent that change samples most."""
        space = Space(self.sampler)
        axes = space.strongest(min(self.settings.rows, space.dim))
        self._draw_walks(space, axes, "traversal")
        print(f"numbers of {space.name}, row by row: {', '.join(map(str, axes.argmax(1).tolist()))}")
        self._draw_codes(self.sampler.latents("sample", self.settings.rows))

    def interpolation(self) -> None:
        """Draw walks from each of a few samples to the next: as rows, and as an animation."""
        space, rows, steps, frames = Space(self.sampler), self.settings.rows, self.settings.steps, self.settings.frames
        latents, labels = self.sampler.latents("sample", rows), self._labels(rows)

        def show(walk: list[Tensor]) -> list[Tensor]:
            return [space.show(space.points(z, labels), labels) for z in walk]

        walk = [*self.game.interpolate(latents, steps - 1), latents.roll(-1, 0)]
        self._picture(side_by_side(show(walk)), steps, "interpolation.png")
        print(f"from each sample to the next, a row each, in {self.out / 'interpolation.png'}")
        if frames:
            self._gif(show(self.game.interpolate(latents, frames)), columns_for(rows, 0))
            print(f"in {frames} steps in {self.out / 'interpolation.gif'}")

    def projection(self) -> None:
        """Find the latents of given examples; compare with the nearest samples and with projected own samples."""
        space, settings = Space(self.sampler), self.settings
        targets, names = self._targets()
        labels = self._labels(len(settings.classes or range(self.num_classes)))
        options = labels, settings.iterations, settings.restarts
        found = project(space, targets, *options)
        own_labels = None if labels is None else labels[torch.arange(OWN_SAMPLES) % len(labels)]
        own = project(space, space.show(space.sample("own", OWN_SAMPLES, own_labels), own_labels), *options)

        columns = side_by_side([targets, found.made, found.nearest_samples])
        self._picture(columns, 3 * columns_for(len(targets), 0), "projection.png")
        self._save_array(found.points, "points.npy")
        rows = zip(names, found.psnr.tolist(), found.nearest_psnr.tolist(), strict=True)
        images = [{"name": name, "psnr": psnr, "nearest_sample_psnr": nearest} for name, psnr, nearest in rows]
        if found.labels is not None:
            images = [row | {"label": label} for row, label in zip(images, found.labels.tolist(), strict=True)]
        errors = {"space": space.name, "images": images, "own_samples_psnr": own.psnr.tolist()}
        write_json(self.out / "projection.json", errors)
        print(
            f"each next to its projection and the nearest of 1,000 samples in {self.out / 'projection.png'}\n"
            f"the points, {tuple(found.points.shape)} in {space.name}, in {self.out / 'points.npy'}; "
            f"errors in {self.out / 'projection.json'}\n"
            f"psnr: projected {found.psnr.mean():.2f} dB, nearest sample {found.nearest_psnr.mean():.2f} dB "
            f"({len(targets)} given); the generator's own samples {own.psnr.mean():.2f} dB"
        )

    def _targets(self) -> tuple[Tensor, list[str]]:
        """Return the examples to project and their names: given images, or rows of the data, held-out ones if any."""
        if self.input_path:
            if not isinstance(self.modality, Images):
                raise UserError(
                    f"input={self.input_path}: this model makes {self.modality.name}; leave it out to project its data"
                )
            files, size = image_files(self.input_path), (self.facts.image_size, self.facts.channels)
            return torch.stack([torch.tensor(fit(read(file), *size)) for file in files]), [str(file) for file in files]
        name, columns = "example", self.data.columns if self.data else {}
        if self.sampler.example_count > 0:
            name, columns = "held-out example", self.sampler.examples or {}
        images = columns["images"]
        count = min(self.settings.rows, len(images))
        rows = torch.linspace(0, len(images) - 1, count).long()  # data are often sorted by class
        return images[rows], [f"{name} {row}" for row in rows.tolist()]

    def _labels(self, count: int) -> Tensor | None:
        classes = self.settings.classes
        classes = None if classes is None else list(classes)
        return cycle_labels("sample.classes", classes, count, self.num_classes)

    def _draw_codes(self, latents: Tensor) -> None:
        """Draw walks along the numbers to which a game gives a meaning, such as InfoGAN's codes."""
        for name, walk in self.game.traversals(latents).items():
            steps = [self.sampler.show(step) for step in walk]
            self._picture(side_by_side(steps), len(steps), f"{name}.png")
            print(f"what {name} means, a column for each of its values, in {self.out / name}.png")

    def _draw_walks(self, space: Space, vectors: Tensor, name: str) -> None:
        """Draw a walk from one sample along each of the ``vectors`` (n, dim), and walks from several along each."""
        rows, steps, path = self.settings.rows, self.settings.steps, self.out / f"{name}s.png"
        labels, first_rows = self._labels(rows), []
        points = space.sample("sample", rows, labels)
        for i, vector in enumerate(vectors, start=1):
            walk = [space.show(step, labels) for step in space.walk(points, vector, steps, self.settings.reach)]
            self._picture(side_by_side(walk), steps, f"{name}-{i}.png")
            first_rows += [step[:1] for step in walk]
        self._picture(torch.cat(first_rows), steps, path.name)
        print(f"{len(vectors)} {name}s of one sample, a row each, in {path}, of {rows} samples in {name}-N.png")

    def _picture(self, examples: Tensor, columns: int, name: str) -> None:
        """Save examples as a picture, and as one file to hear, watch or read where the modality has such."""
        save_image(self.modality.picture(examples, columns), self.out / name)
        if self.modality.has_combined_file:
            self.modality.write_combined(examples, (self.out / name).with_suffix(self.modality.ending))

    def _gif(self, steps: list[Tensor], columns: int) -> None:
        save_gif([self.modality.picture(step, columns) for step in steps], self.out / "interpolation.gif")

    def _save_array(self, values: Tensor, name: str) -> None:
        with atomic_write(self.out / name) as temporary, open(temporary, "wb") as file:
            np.save(file, values.cpu().numpy())

    def _write(self, samples: Tensor) -> None:
        name, folder = self.modality.name, self.modality.write(samples, self.out)
        description = name if name.endswith("s") else f"samples of {name}"
        print(f"{len(samples)} {description} in {folder}, together as {self.out / 'grid.png'}")


KINDS = {
    "samples": Drawing.samples,
    "directions": Drawing.directions,
    "traversal": Drawing.traversal,
    "interpolation": Drawing.interpolation,
    "projection": Drawing.projection,
}
