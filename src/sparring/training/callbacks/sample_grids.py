"""A grid of samples from the same latents, as training goes on."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor

from sparring.data.image_grids import columns_for, rows_of, save_image, side_by_side
from sparring.data.modalities.images import Images
from sparring.evaluation.generated_sets import Translated
from sparring.evaluation.sampler import BatchNormPolicy, Sampler
from sparring.storage.files import optional_write
from sparring.training.adversarial_module import AdversarialModule


def beside_targets(sampler: Sampler, count: int) -> Tensor:
    """One picture of the first ``count`` held-out examples, three a row: what was given, what is made of it and, where that is
    known, what was wanted.
    """
    answers = Translated(sampler, max(count, 1))
    rows = range(len(answers))
    steps = [answers.baselines[0].images(rows), answers.images(rows), answers.targets(rows)]
    return rows_of([step for step in steps if step is not None], 3)


class SampleGrids(pl.Callback):
    """Writes ``samples/kimg-0000016.000.png`` and hands each grid to the loggers; what is heard, watched or read rather than
    looked at comes as a file of that name, too.

    Args:
        folder: where the pictures are written.
        every_kimg: thousands of images between two grids; there is also one at the start and one at the end.
        count: images in a grid; a conditional generator shows its classes in columns, one that answers to images a third
            as many of them between what it was given and what was wanted.
        batch_norm: see Sampler.
        ema: show the average (or the raw weights).
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
        self.batch_norm, self.ema, self.seed = batch_norm, ema, seed
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
        self._draw_once(trainer, module)  # of a run that ended just before it

    def _draw_once(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        if self._path(module) != self.latest and not module.interrupted:
            self.draw(trainer, module)

    def draw(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        sampler = module.sampler(self.ema, self.batch_norm, self.seed)
        self.latest, modality = self._path(module), sampler.game.modality
        if sampler.game.translates:
            pictures = {"samples": beside_targets(sampler, self.count // 3)}
        else:
            samples, columns = self._samples(sampler, module)
            pictures = {"samples": modality.picture(samples, columns)} | self._others(sampler, module)
            if modality.has_combined_file:
                self._play(trainer, module, samples)
        for name, picture in pictures.items():
            with optional_write(self.folder):
                save_image(picture, self.latest if name == "samples" else self._path(module, f"{name}-"))
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image(name, [picture], step=module.iteration, kimg=module.kimg)

    def _play(self, trainer: pl.Trainer, module: AdversarialModule, samples: Tensor) -> None:
        modality, path = module.game.modality, self.latest.with_suffix(module.game.modality.ending)
        with optional_write(self.folder):
            modality.write_combined(samples, path)
            for logger in trainer.loggers:
                if hasattr(logger, "log_file"):
                    logger.log_file(modality.name, path, step=module.iteration, kimg=module.kimg)

    def _samples(self, sampler: Sampler, module: AdversarialModule) -> tuple[Tensor, int]:
        """Samples, and how many of them make a row."""
        classes = module.num_classes if sampler.game.conditional else 0
        columns = columns_for(self.count, classes)
        count = max(self.count // columns, 1) * columns  # whole rows
        labels = torch.arange(count) % classes if classes else None
        return sampler.show(sampler.latents("grid", count), labels), columns

    def _others(self, sampler: Sampler, module: AdversarialModule) -> dict[str, Tensor]:
        """Walks along what single latents mean, and examples beside what an encoder keeps of them."""
        pictures, modality = {}, sampler.game.modality
        for name, walk in sampler.game.traversals(sampler.latents("grid", 10)).items():
            steps = [sampler.show(step) for step in walk]
            pictures[name] = modality.picture(side_by_side(steps), len(steps))
        known = sampler.examples if sampler.example_count else module.batches.columns
        spread = torch.linspace(0, len(known["images"]) - 1, self.count // 2).long()  # data often lie by class
        examples = {name: column[spread] for name, column in known.items()}
        remade = sampler.reconstructions(examples)
        if remade is not None and isinstance(modality, Images):
            pictures["reconstructions"] = rows_of([examples["images"], remade], 4)
        return pictures

    def _path(self, module: AdversarialModule, name: str = "") -> Path:
        return self.folder / f"{name}kimg-{module.kimg:011.3f}.png"
