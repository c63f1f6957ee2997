"""Score a run while it trains, and keep the checkpoint that scores best."""

from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor

from sparring.distributed.collectives import broadcast, broadcast_object
from sparring.distributed.signals import Interrupted
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.generated_sets import fakes_of
from sparring.evaluation.image_sets import ImageSet
from sparring.evaluation.references import References
from sparring.evaluation.sampler import BatchNormPolicy
from sparring.runs import store
from sparring.runs.scores_file import append_scores, save_pictures, scores_entry
from sparring.storage.files import optional_write
from sparring.training.adversarial_module import AdversarialModule
from sparring.training.callbacks.best_checkpoint import keep_best


class Scores(pl.Callback):
    """Scores the generator at the start, every ``every_kimg`` and at the end, to the loggers and ``scores.json``.

    Evaluations during training use ``samples_during`` fakes of one seed and are logged as ``scores_<samples>/...``; the
    last one uses all samples and seeds and is logged as ``scores/...``. After each evaluation during training the
    checkpoint is kept as ``best_by_<score>.ckpt`` if its leading score is the lowest so far. Chosen by its score, that
    checkpoint is not the one to report.

    Args:
        evaluator: computes the scores.
        references: the reals.
        folder: the run's folder.
        cache: the cache folder.
        batch_norm: see Sampler.
        seed: of the first set of samples, the same in every evaluation.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        references: References,
        folder: Path,
        cache: str | Path,
        batch_norm: BatchNormPolicy = "standing",
        seed: int = 0,
    ):
        self.evaluator, self.references, self.folder, self.cache = evaluator, references, folder, cache
        self.batch_norm: BatchNormPolicy = batch_norm
        self.seed = seed
        self._entries: list[dict] = []  # of this run's training, also before it was resumed
        self._unwritten: list[dict] = []

    @property
    def latest(self) -> dict | None:
        """The newest entry of ``scores.json``."""
        return self._entries[-1] if self._entries else None

    def setup(self, trainer: pl.Trainer, module: AdversarialModule, stage: str) -> None:
        if trainer.is_global_zero:  # task=evaluate names the checkpoint in its entries
            self._entries = [e for e in store.read_scores(self.folder) if "checkpoint" not in e["protocol"]]
        self._entries = broadcast_object(self._entries)
        device, game, data = trainer.strategy.root_device, module.game, self.references.data
        targeted = game.translates and data is not None and data.aligned
        self.evaluator.prepare(self.references.images, device, self.cache, data, game.conditional, targeted)

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._evaluate_if_due(module)

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        self._evaluate_if_due(module)

    def on_fit_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        """Evaluate after the last checkpoint is written: a failure here loses no training."""
        self._evaluate_if_due(module)  # a resumed run may have ended just before it
        module.on_train_end()
        evaluator = self.evaluator
        same = evaluator.samples == evaluator.samples_during and evaluator.seeds == 1
        if not (same and self._is_done(module, during=True)):
            self._evaluate_once(module, during=False)

    def _evaluate_if_due(self, module: AdversarialModule) -> None:
        if module.iteration == 0 or module.passed(self.evaluator.every_kimg):
            self._evaluate_once(module, during=True)

    def _is_done(self, module: AdversarialModule, during: bool) -> bool:
        return any((e["iteration"], e.get("during_training")) == (module.iteration, during) for e in self._entries)

    def _evaluate_once(self, module: AdversarialModule, during: bool) -> None:
        if module.interrupted or self._is_done(module, during):
            return
        try:
            self.evaluate(module, during)
        except Interrupted:
            module.interrupted = module.trainer.should_stop = True

    def evaluate(self, module: AdversarialModule, during: bool) -> None:
        """Score the generator as it is now; ``during`` training with fewer samples and one seed."""
        broadcast(module.buffers())
        module.check_finite()
        evaluator = self.evaluator
        samples, seeds = (evaluator.samples_during, 1) if during else (evaluator.samples, evaluator.seeds)

        def fakes(seed: int) -> ImageSet:
            sampler = module.sampler(evaluator.ema, self.batch_norm, seed, evaluator.batch_size)
            return fakes_of(sampler, samples, self.references)

        result, pictures = evaluator(fakes, [self.seed + i for i in range(seeds)])
        entry = scores_entry(result, module.iteration, module.kimg, ema=evaluator.ema, split=self.references.split)
        entry["during_training"] = during
        if during and module.iteration > 0:
            keep_best(module, self.evaluator.lower_is_better, self._entries, entry, self.folder / "checkpoints")
        if module.global_rank == 0:
            self._log(module, entry, "scores" if samples == evaluator.samples else f"scores_{samples}", pictures)
            self.record(entry, pictures)  # last: a resumed run repeats only what was not written
        self._entries.append(entry)

    def _log(self, module: AdversarialModule, entry: dict, prefix: str, pictures: dict[str, Tensor]) -> None:
        row = {f"{prefix}/{name}": value for name, value in entry["scores"].items()}
        for baseline, scores in entry.get("baselines", {}).items():
            row |= {f"{prefix}_{baseline}/{name}": value for name, value in scores.items()}
        module.log_row(row)
        for name, picture in pictures.items():
            module.log_picture(name, picture)

    def record(self, entry: dict, pictures: dict[str, Tensor]) -> None:
        """Write to the disk; entries for which there is no space are written with the next one."""
        self._unwritten.append(entry)
        with optional_write(self.folder / "scores.json"):
            append_scores(self.folder, self._unwritten)
            self._unwritten = []
        with optional_write(self.folder / "samples"):
            save_pictures(self.folder, entry, pictures)
