"""Grids of samples from the same latents during training."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor

from sparring.data.image_grids import columns_for, rows_of, save_image, side_by_side
from sparring.data.modalities.images import Images
from sparring.evaluation.generated_sets import Translated
from sparring.evaluation.sampler import BatchNormPolicy, Sampler
from sparring.runs.wandb_run import WandbRun
from sparring.storage.files import optional_write
from sparring.training.adversarial_module import AdversarialModule


def translation_grid(sampler: Sampler, count: int) -> Tensor:
    """Return a picture of ``count`` held-out examples, three a row: input, output and target, if it is known."""
    outputs = Translated(sampler, max(count, 1))
    rows = range(len(outputs))
    images = [outputs.baselines[0].images(rows), outputs.images(rows), outputs.targets(rows)]
    return rows_of([column for column in images if column is not None], 3)


class SampleGrids(pl.Callback):
    """Writes ``samples/kimg-0000016.000.png`` and gives each grid to the loggers.

    Sounds, clips and text are written as a file of that name, too.

    Args:
        folder: where the pictures are written.
        every_kimg: thousands of images between two grids; there is also one at the start and one at the end.
        count: images in a grid. A conditional generator shows its classes in columns; one that translates shows a third
            as many outputs, between input and target.
        batch_norm: see Sampler.
        ema: show the average, not the raw weights.
        seed: of the latents.
    """

    def __init__(
        self,
        folder: Path,
        every_kimg: float,
        count: int = 64,
        batch_norm: BatchNormPolicy = "standing",
        ema: bool = True,
        seed: int = 0,
    ):
        self.folder, self.every_kimg, self.count = folder, every_kimg, count
        self.batch_norm: BatchNormPolicy = batch_norm
        self.ema, self.seed = ema, seed
        self.latest: Path | None = None

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        if module.iteration == 0 or module.passed(self.every_kimg):
            self._draw_once(trainer, module)

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if module.passed(self.every_kimg):
            self._draw_once(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._draw_once(trainer, module)

    def on_fit_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._draw_once(trainer, module)  # for a run that ended just before it

    def _draw_once(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        if self._path(module) != self.latest and not module.interrupted:
            self.draw(trainer, module)

    def draw(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        sampler = module.sampler(self.ema, self.batch_norm, self.seed)
        self.latest, modality = self._path(module), sampler.game.modality
        if sampler.game.translates:
            pictures = {"samples": translation_grid(sampler, self.count // 3)}
        else:
            samples, columns = self._samples(sampler, module)
            pictures = {"samples": modality.picture(samples, columns)} | self._other_pictures(sampler, module)
            if modality.has_combined_file:
                self._write_file(trainer, module, samples)
        for name, picture in pictures.items():
            with optional_write(self.folder):
                save_image(picture, self.latest if name == "samples" else self._path(module, f"{name}-"))
            module.log_picture(name, picture)

    def _write_file(self, trainer: pl.Trainer, module: AdversarialModule, samples: Tensor) -> None:
        modality = module.game.modality
        path = self._path(module).with_suffix(modality.ending)
        with optional_write(self.folder):
            modality.write_combined(samples, path)
            for logger in trainer.loggers:
                if isinstance(logger, WandbRun):
                    logger.log_file(modality.name, path, step=module.iteration, kimg=module.kimg)

    def _samples(self, sampler: Sampler, module: AdversarialModule) -> tuple[Tensor, int]:
        """Return samples, and how many of them make a row."""
        classes = module.num_classes if sampler.game.conditional else 0
        columns = columns_for(self.count, classes)
        count = max(self.count // columns, 1) * columns  # whole rows
        labels = torch.arange(count) % classes if classes else None
        return sampler.show(sampler.latents("grid", count), labels), columns

    def _other_pictures(self, sampler: Sampler, module: AdversarialModule) -> dict[str, Tensor]:
        """Return pictures of walks along single latents, and of examples next to their reconstructions."""
        pictures, modality = {}, sampler.game.modality
        for name, walk in sampler.game.traversals(sampler.latents("grid", 10)).items():
            steps = [sampler.show(step) for step in walk]
            pictures[name] = modality.picture(side_by_side(steps), len(steps))
        columns = sampler.examples if sampler.examples and sampler.example_count else module.batches.columns
        spread = torch.linspace(0, len(columns["images"]) - 1, self.count // 2).long()  # data are often sorted by class
        examples = {name: column[spread] for name, column in columns.items()}
        reconstructions = sampler.reconstructions(examples)
        if reconstructions is not None and isinstance(modality, Images):
            pictures["reconstructions"] = rows_of([examples["images"], reconstructions], 4)
        return pictures

    def _path(self, module: AdversarialModule, name: str = "") -> Path:
        return self.folder / f"{name}kimg-{module.kimg:011.3f}.png"
