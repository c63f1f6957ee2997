"""Scores during and after training: one pass of the generator, one of the extractor, every metric from those."""

import logging
import pickle
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytorch_lightning as pl
import torch

from sparring.adversarial import AdversarialModule
from sparring.data.cache import Data
from sparring.evaluation.features import Extractor, Features
from sparring.evaluation.gallery import BatchNormPolicy, Gallery
from sparring.evaluation.metrics import Metric
from sparring.files import replacing, update_json_list
from sparring.randomness import generator

log = logging.getLogger(__name__)


class Evaluator(pl.Callback):
    """Scores the generator at the start, every ``every_kimg`` and at the end, against the whole training split.

    Args:
        extractor: makes features of images; built of (data, cache, device) before training starts.
        metrics: by the name under which the config keeps each.
        data: the real images, all of them (also where training sees a subset).
        folder: the run's folder, for ``scores.json``.
        cache: folder in which the reals' features are kept.
        every_kimg: thousands of images between two evaluations, None for the end alone.
        samples: number of fakes.
        batch_size: images a pass.
        batch_norm: see Gallery.
        ema: score the average (or the raw weights).
        seed: of the latents; the same for every evaluation of a run.
        split: name of the real split, for the protocol.
    """

    def __init__(
        self,
        extractor: Callable[..., Extractor],
        metrics: Mapping[str, Metric],
        data: Data,
        folder: Path,
        cache: str | Path,
        every_kimg: float | None = None,
        samples: int = 5000,
        batch_size: int = 100,
        batch_norm: BatchNormPolicy = "standing",
        ema: bool = True,
        seed: int = 0,
        split: str = "train",
    ):
        self.data, self.metrics, self.folder, self.cache = data, metrics, folder, Path(cache).expanduser()
        self.every_kimg, self.samples, self.batch_size = every_kimg, samples, batch_size
        self.batch_norm, self.ema, self.seed, self.split = batch_norm, ema, seed, split
        self.make_extractor = extractor
        self.latest: dict | None = None  # the last entry of scores.json

    @property
    def lower_is_better(self) -> set[str]:
        return {name for metric in self.metrics.values() for name in metric.lower_is_better}

    def setup(self, trainer: pl.Trainer, module: AdversarialModule, stage: str) -> None:
        self.extractor = self.make_extractor(self.data, self.cache, trainer.strategy.root_device)
        self.reals = self._real_features()

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        if module.iteration == 0:
            self.evaluate(module)

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if module.passed(self.every_kimg):
            self.evaluate(module)

    def on_train_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        if not module.interrupted and (self.latest is None or self.latest["iteration"] != module.iteration):
            self.evaluate(module)

    def evaluate(self, module: AdversarialModule) -> dict:
        """Score the generator as it is now, write the scores to the log and to ``scores.json``, return that entry."""
        module.check_finite()
        started = time.perf_counter()
        gallery = module.gallery(self.ema, self.batch_norm, self.seed, self.batch_size)
        fakes = self.features(gallery)
        scores = {name: value for metric in self.metrics.values() for name, value in metric(self.reals, fakes).items()}
        self.latest = {
            "iteration": module.iteration,
            "kimg": module.kimg,
            "scores": scores,
            "protocol": {
                "samples": self.samples,
                "reals": len(self.reals),
                "split": self.split,
                "extractor": self.extractor.name,
                "weights": self.extractor.weights_hash,
                **self.extractor.facts,
                "image_size": self.data.columns["images"].shape[-1],
                "ema": self.ema,
                "batch_norm": gallery.batch_norm,
                "seed": self.seed,
                "data": self.data.key,
            },
            "seconds": round(time.perf_counter() - started, 2),
        }
        update_json_list(self.folder / "scores.json", lambda entries: [*entries, self.latest])
        module.log_row({f"scores/{name}": value for name, value in scores.items()})
        return self.latest

    def features(self, gallery: Gallery) -> Features:
        """Features of ``samples`` fakes; a conditional generator is given the reals' labels in a fixed random order."""
        labels = None
        if gallery.game.conditional:
            known = self.data.columns["labels"]
            order = torch.randperm(len(known), generator=generator(self.seed, "evaluation labels"))
            labels = known[order.repeat(-(-self.samples // len(known)))[: self.samples]]
        latents = gallery.latents("evaluation", self.samples)
        parts = []
        for i in range(0, self.samples, self.batch_size):  # so that no more than a batch of images is in memory
            part = slice(i, i + self.batch_size)
            images = gallery.show(latents[part], None if labels is None else labels[part])
            parts.append(self.extractor(images))
        values, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        return Features(values, logits, labels)

    def _real_features(self) -> Features:
        """From the cache, under a name that says everything they depend on."""
        path = self.cache / "features" / f"{self.data.key}-{self.extractor.name}-{self.extractor.weights_hash}.pt"
        try:
            values, logits = torch.load(path, weights_only=True)
            if len(values) == len(logits) == len(self.data):
                return Features(values, logits)
        except FileNotFoundError:
            pass
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            log.warning("%s is damaged (%s): it is made again", path, type(error).__name__)
        reals = self.extractor.extract(self.data.columns["images"])
        with replacing(path) as temporary:
            torch.save([reals.values, reals.logits], temporary)
        return reals
