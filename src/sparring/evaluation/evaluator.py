"""Scores of a set of fakes: one pass of the generator, one of the extractor, every metric from those."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.modalities.images import Images
from sparring.distributed import signals
from sparring.distributed.collectives import all_reduce
from sparring.evaluation import protocol
from sparring.evaluation.extractors.base import Extractor
from sparring.evaluation.extractors.classifier import LABEL_SOURCES, check_labels
from sparring.evaluation.features import Reference, rounds
from sparring.evaluation.image_sets import ImageSet, Subset
from sparring.evaluation.metrics.base import Comparison, Metric

log = logging.getLogger(__name__)
REMEDIES = {"points": "evaluation=modes", "text": "evaluation=text"}  # of modalities that no classifier sees
Fakes = Callable[[int | None], ImageSet]  # of a sampling seed


def check_takes(extractor: Extractor | type[Extractor], modality: str) -> None:
    """Raise UserError if an extractor can't make features of a modality."""
    if extractor.modalities and modality not in extractor.modalities:
        raise UserError(
            f"evaluation/extractor={extractor.name}: takes {' and '.join(extractor.modalities)}, and these data are "
            f"{modality}: choose {REMEDIES.get(modality, 'evaluation=fast where they have labels')} (or evaluation=none)"
        )


def check_can_score(cfg: DictConfig) -> None:
    """Check that ``evaluation`` can score the data of a configuration, before any weights are loaded or downloaded.

    Raises:
        UserError: the extractor does not take this modality, or needs labels that the data lack.
    """
    target = OmegaConf.select(cfg, "evaluation.extractor._target_")
    if target is None:
        return
    extractor = get_object(target)
    if extractor.needs_labels and cfg.data.modality in LABEL_SOURCES:
        check_labels(cfg.data.modality, cfg.data.num_classes)
    check_takes(extractor, cfg.data.modality)


class Evaluator:
    """Scores fakes beside reals, and says what the scores were computed from.

    Args:
        extractor: makes features of images.
        metrics: by the name under which the config keeps each.
        every_kimg: thousands of images between two evaluations during training, None for the end alone.
        samples: fakes; None for the protocol of record's 50,000 on a GPU, and 2,000 on a CPU, where those take hours.
        samples_during: fakes of the evaluations during training; None for 5,000 on a GPU and 500 on a CPU.
        reals: images of the real split; None for ``all`` on a GPU and 2,000 on a CPU.
        seeds: sampling seeds, over which the mean and the deviation are given; None for 3 on a GPU and 1 on a CPU.
        batch_size: images a pass of the generator.
        ema: score the average, or the raw weights.
    """

    def __init__(
        self,
        extractor: Extractor,
        metrics: Mapping[str, Metric],
        every_kimg: float | None = None,
        samples: int | None = None,
        samples_during: int | None = None,
        reals: int | Literal["all"] | None = None,
        seeds: int | None = None,
        batch_size: int = 100,
        ema: bool = True,
    ):
        self.extractor, self.metrics, self.every_kimg = extractor, dict(metrics), every_kimg
        self.samples, self.samples_during, self.reals, self.seeds = samples, samples_during, reals, seeds
        self.batch_size, self.ema = batch_size, ema
        self._known: dict[tuple, dict[str, float]] = {}  # scores of baselines

    def settle(self, gpu: bool) -> None:
        """Decide what was left open, by the kind of machine."""
        self.samples = self.samples or (protocol.SAMPLES if gpu else 2_000)
        self.samples_during = self.samples_during or (5_000 if gpu else 500)
        self.seeds = self.seeds or (protocol.SEEDS if gpu else 1)
        self.reals = self.reals or ("all" if gpu else 2_000)

    def prepare(
        self,
        images: ImageSet,
        device: torch.device,
        cache: str | Path,
        data: Data | None = None,
        labelled: bool = False,
        targeted: bool = False,
    ) -> None:
        """Get the extractor and the reals' features ready, from the cache where they are there.

        Args:
            images: the real split.
            device: where features are made.
            cache: the cache folder.
            data: the decoded data behind ``images``, for an extractor that learns from their labels.
            labelled: whether the fakes have labels.
            targeted: whether it is known what each of them was to be.

        Raises:
            UserError: the extractor can't be had, none of the metrics can be computed, or there is no space for the features.
        """
        cache = Path(cache).expanduser()
        device = torch.device("cpu") if device.type == "mps" else device  # which lacks float64
        self.settle(device.type == "cuda")
        self.available = len(images)
        chosen = images if self.reals == "all" or self.reals >= len(images) else Subset(images, self.reals)
        self.device = device
        self.modality, self.name = (Images(), "") if data is None else (data.modality, data.name)
        check_takes(self.extractor, self.modality.name)
        self.extractor.prepare(device, data, cache)
        self.refused = self._refuse(labelled and images.labels is not None, targeted, images.image_size)
        for name, reason in self.refused.items():
            log.warning("no %s: %s", name, reason)
        if not self._able:
            raise UserError(f"evaluation/metrics=[{', '.join(self.metrics)}]: none of them can be computed here")
        self.reference = Reference(chosen, self.extractor, cache, self.batch_size)

    @property
    def lower_is_better(self) -> list[str]:
        """The scores that fall as images get better, the one that leads first."""
        return [n for metric in self.metrics.values() for n, low in metric.names(self.extractor.name).items() if low]

    def __call__(self, fakes: Fakes, seeds: list[int | None]) -> tuple[dict, dict[str, Tensor]]:
        """Score the fakes of each sampling seed ([None] where they are given).

        Returns:
            What goes to ``scores.json``: ``scores`` (means over the seeds, and ``..._sd`` where there are several), those of
            the ``baselines`` by their names (first seed), ``protocol``, ``lower_is_better`` (the leading one first) and
            ``seconds``; and pictures (3, H, W) uint8 by name.
        """
        started = time.perf_counter()
        runs, baselines, pictures = [], {}, {}
        for images in map(fakes, seeds):
            runs.append(self._score(images) | images.own_scores())
            pictures = pictures or {n: p for m in self._able.values() for n, p in m.pictures().items()}
            baselines = baselines or {
                each.name: self._score_once(each, seeds[0]) | images.own_scores(each) for each in images.baselines
            }
        common = [name for name in runs[0] if all(name in run for run in runs)]
        scores = {name: sum(run[name] for run in runs) / len(runs) for name in common}
        if len(runs) > 1:
            table = torch.tensor([[run[name] for name in scores] for run in runs], dtype=torch.float64)
            scores |= dict(zip([f"{name}_sd" for name in scores], table.std(0).tolist(), strict=True))
        facts = {
            "fakes": images.name,
            "samples": len(images),
            **images.facts,
            "seeds": list(seeds),
            "reals": len(self.reference),
            "reals_available": self.available,
            "real_images": self.reference.images.name,
            "real_key": self.reference.folder.name,
            **self.extractor.facts,
            "image_size": list(images.image_size),
            "real_image_size": list(self.reference.images.image_size),
            "metrics": {name: kept for name, metric in self._able.items() if (kept := metric.protocol())},
            "refused": self.refused,
            "packages": protocol.packages(),
        }
        found = {"scores": scores} | ({"baselines": baselines} if baselines else {})
        lower = [*self.lower_is_better, *images.lower_is_better]
        found |= {"protocol": facts, "lower_is_better": [n for n in lower if n in scores]}
        return found | {"seconds": round(time.perf_counter() - started, 2)}, pictures

    def _score_once(self, baseline: ImageSet, seed: int | None) -> dict[str, float]:
        """The scores of what does not change as training goes on."""
        key = (baseline.name, len(baseline), seed)
        if key not in self._known:
            self._known[key] = self._score(baseline)
        return self._known[key]

    def _score(self, images: ImageSet) -> dict[str, float]:
        """One pass over the fakes; sums are reduced once, and every rank works the scores out of them."""
        extractor = self.extractor
        comparison = Comparison(
            self.reference,
            len(images),
            extractor.name,
            extractor.dims,
            extractor.classes,
            self.device,
            self.modality,
        )
        metrics = sorted(self._able.values(), key=lambda metric: metric.builds_on_others)
        for metric in metrics:
            metric.begin(comparison)
        for _, batch in rounds(images, extractor, self.batch_size, "scoring"):
            if batch is not None:
                for metric in metrics:
                    metric.add(batch)
        scores = {}
        for metric in metrics:
            all_reduce(metric.sums)
        for metric in metrics:
            signals.raise_if_interrupted()
            scores |= metric.scores(scores)
        return scores

    def _refuse(self, labelled: bool, targeted: bool, image_size: tuple[int, int]) -> dict[str, str]:
        """What can't be computed, by the names of its scores, and why; the rest is."""
        self._able, refused, unsaid = {}, {}, []
        for name, metric in self.metrics.items():
            if metric.needs_targets and not targeted:
                unsaid += metric.names(self.extractor.name)
                continue  # it has nothing to say of samples
            reason = metric.unavailable(image_size)
            if metric.modalities and self.modality.name not in metric.modalities:
                reason = f"it is of {' and '.join(metric.modalities)}, and these data are {self.modality.name}"
            elif metric.data_name and metric.data_name != self.name:
                reason = f"it is of other data, {metric.data_name}"
            elif metric.needs_features and not self.extractor.dims:
                reason = "evaluation/extractor=none makes no features"
            elif metric.needs_logits and not self.extractor.classes:
                reason = f"the weights of {self.extractor.name} have no classifier head"
            elif metric.needs_labels and not labelled:
                reason = "the classes of fakes and reals are not both known"
            if reason is None:
                self._able[name] = metric
            else:
                refused |= dict.fromkeys(metric.names(self.extractor.name), reason)
        if not self._able and unsaid:
            refused |= dict.fromkeys(
                unsaid, "it wants answers whose targets are known (unpaired data: data.aligned=true)"
            )
        return refused
