"""Evaluations during training and at its end."""

import logging
from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor

from sparring.data.dataset import Data
from sparring.distributed.collectives import broadcast, broadcast_object
from sparring.distributed.signals import Interrupted
from sparring.evaluation import protocol
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.generated_sets import Answers, Generated
from sparring.evaluation.image_sets import Decoded, ImageSet
from sparring.evaluation.sampler import BatchNormPolicy
from sparring.runs import store
from sparring.runs.scores_file import append_scores, save_pictures, scores_entry
from sparring.storage.files import optional_write
from sparring.training.adversarial_module import AdversarialModule

log = logging.getLogger(__name__)


class Scores(pl.Callback):
    """Scores the generator at the start, every ``every_kimg`` and at the end, for the log and ``scores.json``.

    Evaluations during training see fewer samples. They are logged as ``scores_<samples>/...``, that at the end as
    ``scores/...``. The checkpoint that scored best during training is kept as ``best_by_<score>.ckpt``. As it was
    chosen by its score, it is not the one to report.

    Args:
        evaluator: what computes them.
        images: the reals to compare with.
        data: the decoded data that they come from.
        folder: the run's folder.
        cache: the cache folder.
        split: name of the real split.
        batch_norm: see Sampler.
        seed: of the first set of samples; the same for every evaluation of a run.
        training: the examples trained on, if the reals are others: scored next to the samples.
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
        training: Decoded | None = None,
    ):
        self.evaluator, self.images, self.data, self.folder, self.cache = evaluator, images, data, folder, cache
        self.training, self.split, self.seed = training, split, seed
        self.batch_norm: BatchNormPolicy = batch_norm
        self.latest: dict | None = None  # the last entry of scores.json
        self._earlier: list[dict] = []  # the entries of this training
        self._unwritten: list[dict] = []

    def setup(self, trainer: pl.Trainer, module: AdversarialModule, stage: str) -> None:
        if trainer.is_global_zero:
            entries = store.read_scores(self.folder)
            self._earlier = [e for e in entries if "checkpoint" not in e["protocol"]]  # others came after training
        self._earlier = broadcast_object(self._earlier)
        self.latest = self._earlier[-1] if self._earlier else None
        device, game = trainer.strategy.root_device, module.game
        targeted = game.translates and self.data.aligned
        self.evaluator.prepare(self.images, device, self.cache, self.data, game.conditional, targeted)

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._evaluate_if_due(module)

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        self._evaluate_if_due(module)

    def on_fit_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        """Evaluate after the last checkpoint was written, so that nothing that fails here loses training."""
        self._evaluate_if_due(module)  # for a run that ended just before it
        module.on_train_end()
        same = self.evaluator.samples == self.evaluator.samples_during and self.evaluator.seeds == 1
        if not (same and self._is_done(module, during=True)):
            self._evaluate_once(module, during=False)

    def _evaluate_if_due(self, module: AdversarialModule) -> None:
        if module.iteration == 0 or module.passed(self.evaluator.every_kimg):
            self._evaluate_once(module, during=True)

    def _is_done(self, module: AdversarialModule, during: bool) -> bool:
        return any((e["iteration"], e.get("during_training")) == (module.iteration, during) for e in self._earlier)

    def _evaluate_once(self, module: AdversarialModule, during: bool) -> None:
        """Evaluate, unless a signal asks to stop, or it was done before this run was resumed."""
        if module.interrupted or self._is_done(module, during):
            return
        try:
            self.evaluate(module, during)
        except Interrupted:
            module.interrupted = module.trainer.should_stop = True

    def evaluate(self, module: AdversarialModule, during: bool) -> dict:
        """Score the generator as it is now, with fewer samples and one seed ``during`` training; return the entry.

        Raises:
            TrainingDiverged: a weight is not finite.
            Interrupted: a signal asks to stop.
        """
        broadcast(module.buffers())
        module.check_finite()
        evaluator = self.evaluator
        labels = self.images.labels if module.game.conditional else None
        samples = evaluator.samples_during if during else evaluator.samples
        seeds = [self.seed + i for i in range(1 if during else evaluator.seeds)]

        def fakes(seed: int) -> ImageSet:
            sampler = module.sampler(evaluator.ema, self.batch_norm, seed, evaluator.batch_size)
            if sampler.game.translates:
                return Answers(sampler, samples)
            return Generated(sampler, samples, self.images.image_size, labels, self.training)

        result, pictures = evaluator(fakes, seeds)
        entry = scores_entry(result, module.iteration, module.kimg, ema=evaluator.ema, split=self.split)
        entry["during_training"] = during
        if during and module.iteration > 0:
            self._keep_best(module, entry)
        if module.global_rank == 0:
            part = "scores" if samples == evaluator.samples else f"scores_{samples}"
            row = {f"{part}/{name}": value for name, value in result["scores"].items()}
            for baseline, scores in result.get("baselines", {}).items():
                row |= {f"{part}_{baseline}/{name}": value for name, value in scores.items()}
            module.log_row(row)
            for name, picture in pictures.items():
                module.log_picture(name, picture)
            self.record(entry, pictures)  # last: a resumed run does not repeat what is recorded
        self.latest = entry
        self._earlier.append(entry)
        return entry

    def record(self, entry: dict, pictures: dict[str, Tensor]) -> None:
        """Write an entry to the disk; if there is no space for it now, it is written with the next one."""
        self._unwritten.append(entry)
        with optional_write(self.folder / "scores.json"):
            append_scores(self.folder, self._unwritten)
            self._unwritten = []
        with optional_write(self.folder / "samples"):
            save_pictures(self.folder, entry, pictures)

    def _keep_best(self, module: AdversarialModule, entry: dict) -> None:
        """Keep this checkpoint if no comparable evaluation of this run, before a resume included, scored better."""
        name = next((name for name in self.evaluator.lower_is_better if name in entry["scores"]), None)
        if name is None:
            return
        comparable = [
            earlier["scores"][name]
            for earlier in self._earlier
            if 0 < earlier["iteration"] < entry["iteration"]
            and not protocol.differences(earlier["protocol"], entry["protocol"])
        ]
        is_best = all(entry["scores"][name] < score for score in comparable)
        if broadcast_object(is_best):  # one decision for all ranks
            path = self.folder / "checkpoints" / f"best_by_{name}.ckpt"
            module.trainer.save_checkpoint(path)
            entry["kept_as"] = path.name
