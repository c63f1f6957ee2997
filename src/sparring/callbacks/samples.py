"""A grid of samples from the same latents, as training goes on."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from sparring.adversarial import AdversarialModule
from sparring.evaluation.gallery import BatchNormPolicy, Gallery
from sparring.evaluation.made import Answers
from sparring.evaluation.modes import scatter
from sparring.files import forgiving, replacing


def save_image(image: Tensor, path: Path) -> None:
    """Write an image (C, H, W) uint8 as a PNG."""
    with replacing(path) as temporary:
        to_pil_image(image).save(temporary, format="png")


def save_gif(frames: list[Tensor], path: Path, milliseconds: int = 80) -> None:
    """Write frames (C, H, W) uint8 as an endless animation."""
    pictures = [to_pil_image(frame) for frame in frames]
    with replacing(path) as temporary:
        pictures[0].save(temporary, "gif", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)


def tile(images: Tensor, columns: int) -> Tensor:
    """One picture (3, H', W') uint8 of many images (N, C, H, W) uint8, ``columns`` in a row; of points (N, dims) a plot."""
    if images.ndim == 2:
        return scatter(images.cpu())
    return make_grid(images.cpu(), columns, padding=2, pad_value=255)


def rows_of(steps: list[Tensor], times: int = 1) -> Tensor:
    """One picture of a walk: the steps of an image, each a batch (N, C, H, W), side by side, those of ``times`` images in a row."""
    return tile(torch.stack([step.cpu() for step in steps], dim=1).flatten(0, 1), times * len(steps))


def columns_for(count: int, classes: int) -> int:
    """A class a column where there are few of them, else nearly a square."""
    return classes if 2 <= classes <= 20 else round(count**0.5)


def beside_targets(gallery: Gallery, count: int) -> Tensor:
    """One picture of the first ``count`` held-out examples, three a row: what was given, what is made of it and, where that is
    known, what was wanted."""
    answers = Answers(gallery, max(count, 1))
    rows = range(len(answers))
    steps = [answers.baselines[0].images(rows), answers.images(rows), answers.targets(rows)]
    return rows_of([step for step in steps if step is not None], 3)


class SampleGrids(pl.Callback):
    """Writes ``samples/kimg-0000016.000.png`` and hands each grid to the loggers.

    Args:
        folder: where the pictures are written.
        every_kimg: thousands of images between two grids; there is also one at the start and one at the end.
        count: images in a grid; a conditional generator shows its classes in columns, one that answers to images a third
            as many of them between what it was given and what was wanted.
        batch_norm: see Gallery.
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
        gallery = module.gallery(self.ema, self.batch_norm, self.seed)
        pictures = (
            {"samples": beside_targets(gallery, self.count // 3)}
            if gallery.game.translates
            else self._samples(gallery, module)
        )
        self.latest = self._path(module)
        for name, picture in pictures.items():
            with forgiving(self.folder):
                save_image(picture, self.latest if name == "samples" else self._path(module, f"{name}-"))
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image(name, [picture], step=module.iteration, kimg=module.kimg)

    def _samples(self, gallery: Gallery, module: AdversarialModule) -> dict[str, Tensor]:
        """A grid of samples, walks along what single latents mean, and examples beside what an encoder keeps of them."""
        classes = module.num_classes if gallery.game.conditional else 0
        columns = columns_for(self.count, classes)
        count = max(self.count // columns, 1) * columns  # whole rows
        labels = torch.arange(count) % classes if classes else None
        pictures = {"samples": tile(gallery.show(gallery.latents("grid", count), labels), columns)}
        for name, walk in gallery.game.traversals(gallery.latents("grid", 10)).items():
            pictures[name] = rows_of([gallery.show(step) for step in walk])
        known = gallery.examples if gallery.example_count else module.batches.columns
        spread = torch.linspace(0, len(known["images"]) - 1, count // 2).long()  # data often lie by class
        examples = {name: column[spread] for name, column in known.items()}
        remade = gallery.reconstructions(examples)
        if remade is not None and remade.ndim == 4:
            pictures["reconstructions"] = rows_of([examples["images"], remade], 4)
        return pictures

    def _path(self, module: AdversarialModule, name: str = "") -> Path:
        return self.folder / f"{name}kimg-{module.kimg:011.3f}.png"
