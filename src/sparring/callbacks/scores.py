"""When a run is scored, and where its scores go."""

import json
import logging
from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor

from sparring.adversarial import AdversarialModule
from sparring.callbacks.samples import save_image
from sparring.data.cache import Data
from sparring.distributed import share, tell
from sparring.evaluation import protocol
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.gallery import BatchNormPolicy
from sparring.evaluation.made import Answers, Generated
from sparring.evaluation.sets import Decoded, ImageSet
from sparring.files import update_json_list

log = logging.getLogger(__name__)


class Scores(pl.Callback):
    """Scores the generator at the start, every ``every_kimg`` and at the end: to the log and to ``scores.json``.

    Evaluations during training see fewer samples and are logged as ``scores_<samples>/...``, apart from the last one's
    ``scores/...``. The checkpoint that did best during training is kept as ``best_by_<score>.ckpt``: chosen by its score, it
    is not the one to be reported.

    Args:
        evaluator: what computes them.
        images: the real split.
        data: the decoded data behind it.
        folder: the run's folder.
        cache: the cache folder.
        split: name of the real split.
        batch_norm: see Gallery.
        seed: of the first set of samples; the same for every evaluation of a run.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        images: Decoded,
        data: Data,
        folder: Path,
        cache: str,
        split: str,
        batch_norm: BatchNormPolicy = "standing",
        seed: int = 0,
    ):
        self.evaluator, self.images, self.data, self.folder, self.cache = evaluator, images, data, folder, cache
        self.split, self.batch_norm, self.seed = split, batch_norm, seed
        self.latest: dict | None = None  # the last entry of scores.json

    def setup(self, trainer: pl.Trainer, module: AdversarialModule, stage: str) -> None:
        device, game = trainer.strategy.root_device, module.game
        targeted = game.translates and self.data.aligned
        self.evaluator.prepare(self.images, device, self.cache, self.data, game.conditional, targeted)

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        if module.iteration == 0:
            self.evaluate(module, during=True)

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if module.passed(self.evaluator.every_kimg):
            self.evaluate(module, during=True)
            self._keep_best(trainer, module)

    def on_fit_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        """After the last checkpoint was written, so that nothing that fails here loses training."""
        alike = self.evaluator.samples == self.evaluator.samples_during and self.evaluator.seeds == 1
        scored = alike and self.latest is not None and self.latest["iteration"] == module.iteration
        if not module.interrupted and not scored:
            self.evaluate(module, during=False)

    def evaluate(self, module: AdversarialModule, during: bool) -> dict:
        """Score the generator as it is now, with fewer samples and one seed ``during`` training; return the entry."""
        share(module.buffers())
        module.check_finite()
        evaluator = self.evaluator
        labels = self.images.labels if module.game.conditional else None
        samples = evaluator.samples_during if during else evaluator.samples
        seeds = [self.seed + i for i in range(1 if during else evaluator.seeds)]

        def fakes(seed: int) -> ImageSet:
            gallery = module.gallery(evaluator.ema, self.batch_norm, seed, evaluator.batch_size)
            if gallery.game.translates:
                return Answers(gallery, samples)
            return Generated(gallery, samples, self.images.image_size, labels)

        result, pictures = evaluator(fakes, seeds)
        self.latest = entry(result, module.iteration, module.kimg, ema=evaluator.ema, split=self.split)
        if module.global_rank == 0:
            record(self.folder, self.latest, pictures)
            part = "scores" if samples == evaluator.samples else f"scores_{samples}"
            row = {f"{part}/{name}": value for name, value in result["scores"].items()}
            for baseline, scores in result.get("baselines", {}).items():
                row |= {f"{part}_{baseline}/{name}": value for name, value in scores.items()}
            module.log_row(row)
            for name, picture in pictures.items():
                for logger in module.trainer.loggers:
                    if hasattr(logger, "log_image"):
                        logger.log_image(name, [picture], step=module.iteration, kimg=module.kimg)
        return self.latest

    def _keep_best(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        """Keep this checkpoint if no comparable evaluation of this run, also before it was resumed, did better."""
        now = self.latest
        name = next((name for name in self.evaluator.lower_is_better if name in now["scores"]), None)
        if name is None:
            return
        better = False
        if trainer.is_global_zero:  # one decision, though every rank worked the scores out
            earlier = [
                e
                for e in json.loads((self.folder / "scores.json").read_text())
                if "checkpoint" not in e["protocol"]  # an evaluation after training
                and 0 < e["iteration"] < now["iteration"]
                and not protocol.differences(e["protocol"], now["protocol"])
            ]
            better = all(now["scores"][name] < e["scores"][name] for e in earlier)
        if tell(better):
            path = self.folder / "checkpoints" / f"best_by_{name}.ckpt"
            trainer.save_checkpoint(path)
            self.latest["kept_as"] = path.name
            if module.global_rank == 0:
                update_json_list(self.folder / "scores.json", lambda entries: [*entries[:-1], self.latest])


def entry(result: dict, iteration: int | None, kimg: float | None, **facts) -> dict:
    """An entry of ``scores.json``: what an evaluator returned, when, and what only the caller knows."""
    described = {**facts, **result["protocol"]}
    described["differs_from_record"] = protocol.deviations(described)
    return {"iteration": iteration, "kimg": kimg, **result, "protocol": described}


def record(folder: Path, entry: dict, pictures: dict[str, Tensor]) -> None:
    """Write an entry and its pictures to a folder."""
    update_json_list(folder / "scores.json", lambda entries: [*entries, entry])
    for name, picture in pictures.items():
        when = "" if entry["kimg"] is None else f"-kimg-{entry['kimg']:011.3f}"
        save_image(picture, folder / "samples" / f"{name}{when}.png")
