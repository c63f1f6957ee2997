"""Score fakes: one pass of the generator, one of the extractor, and every metric from those features."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.modalities.images import Images
from sparring.distributed import signals
from sparring.distributed.collectives import all_reduce
from sparring.evaluation import protocol
from sparring.evaluation.compatibility import check_modality, refusal
from sparring.evaluation.extractors.base import Extractor
from sparring.evaluation.features import RealFeatures, feature_batches
from sparring.evaluation.image_sets import ImageSet, at_most
from sparring.evaluation.metrics.base import Comparison, Metric

log = logging.getLogger(__name__)
Fakes = Callable[[Any], ImageSet]
ImageCount = Annotated[int, Field(ge=50, le=10**7)]


class Evaluator:
    """Scores fakes against reals, and records what the scores were computed from.

    Args:
        extractor: makes the features.
        metrics: by their names in the configuration.
        every_kimg: thousands of images between two evaluations during training; None for one at the end.
        samples: fakes; None for the protocol of record's 50,000 on a GPU and 2,000 on a CPU, where those take hours.
        samples_during: fakes of evaluations during training; None for 5,000 on a GPU and 500 on a CPU.
        reals: images of the real split; None for ``all`` on a GPU and 2,000 on a CPU.
        seeds: sampling seeds for mean and deviation; None for 3 on a GPU and 1 on a CPU.
        batch_size: images in a pass of the generator and the extractor.
        ema: score the average, or the raw weights.
    """

    def __init__(
        self,
        extractor: Extractor,
        metrics: Mapping[str, Metric],
        every_kimg: Annotated[float, Field(gt=0, le=1e9)] | None = None,
        samples: ImageCount | None = None,
        samples_during: ImageCount | None = None,
        reals: ImageCount | Literal["all"] | None = None,
        seeds: Annotated[int, Field(ge=1, le=1000)] | None = None,
        batch_size: Annotated[int, Field(ge=1, le=10**6)] = 100,
        ema: bool = True,
    ):
        self.extractor, self.metrics, self.every_kimg = extractor, dict(metrics), every_kimg
        self.batch_size, self.ema = batch_size, ema
        self._counts = samples, samples_during, reals, seeds
        self._baselines: dict[tuple, dict[str, float]] = {}

    def settle(self, gpu: bool) -> None:
        """Set the counts of samples, reals and seeds; those that are None by the kind of machine."""
        samples, samples_during, reals, seeds = self._counts
        self.samples = samples or (protocol.SAMPLES if gpu else 2_000)
        self.samples_during = samples_during or (5_000 if gpu else 500)
        self.reals = reals or ("all" if gpu else 2_000)
        self.seeds = seeds or (protocol.SEEDS if gpu else 1)

    def prepare(
        self,
        images: ImageSet,
        device: torch.device,
        cache: str | Path,
        data: Data | None = None,
        labelled: bool = False,
        targeted: bool = False,
    ) -> None:
        """Load or compute the extractor and the features of the reals.

        Args:
            images: the real split.
            device: where features are computed.
            cache: the cache folder.
            data: the decoded data of ``images``, if there are any; an extractor may learn from them.
            labelled: whether the fakes have labels.
            targeted: whether the fakes have targets.

        Raises:
            UserError: there is no extractor, no metric that can be computed, or no disk space for the features.
        """
        cache = Path(cache).expanduser()
        self.device = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64
        self.settle(self.device.type == "cuda")
        self.modality = Images() if data is None else data.modality
        check_modality(self.extractor, self.modality.name)
        self.extractor.prepare(self.device, data, cache)
        self._usable, self.refused = {}, {}
        kind = self.modality.name, "" if data is None else data.name, images.image_size
        for name, metric in self.metrics.items():
            if metric.needs_targets and not targeted:
                continue
            reason = refusal(metric, self.extractor, *kind, labelled and images.labels is not None)
            if reason is None:
                self._usable[name] = metric
            else:
                self.refused |= dict.fromkeys(metric.names(self.extractor.name), reason)
        for score, reason in self.refused.items():
            log.warning("no %s: %s", score, reason)
        if not self._usable:
            unmet = not targeted and any(metric.needs_targets for metric in self.metrics.values())
            why = "; those of targets need aligned data (unpaired: data.aligned=true)" if unmet else ""
            raise UserError(f"evaluation/metrics=[{', '.join(self.metrics)}]: none of them can be computed here{why}")
        self.available = len(images)
        chosen = images if isinstance(self.reals, str) else at_most(images, self.reals)
        self.real_features = RealFeatures(chosen, self.extractor, cache, self.batch_size)

    @property
    def lower_is_better(self) -> list[str]:
        """The scores that fall as images get better, the leading one first."""
        return [n for metric in self.metrics.values() for n, low in metric.names(self.extractor.name).items() if low]

    def __call__(self, fakes: Fakes, seeds: Sequence[int | None]) -> tuple[dict, dict[str, Tensor]]:
        """Score the fakes of each sampling seed.

        Args:
            fakes: returns the set of fakes of a seed.
            seeds: sampling seeds; [None] for given images.

        Returns:
            An entry for ``scores.json``: ``scores`` (means over the seeds, deviations as ``..._sd``), ``baselines``
            (scores by name), ``protocol`` (what the scores depend on), ``lower_is_better`` (the leading score first)
            and ``seconds``; and pictures (3, H, W) uint8 by name. Baselines and pictures are those of the first seed.
        """
        started = time.perf_counter()
        runs, baselines, pictures = [], {}, {}
        for seed in seeds:
            images = fakes(seed)
            runs.append(self._score(images) | images.own_scores())
            if len(runs) == 1:
                pictures = {name: p for metric in self._usable.values() for name, p in metric.pictures().items()}
                for each in images.baselines:
                    key = (each.name, len(each), seed)
                    if key not in self._baselines:  # a baseline does not change as training goes on
                        self._baselines[key] = self._score(each)
                    baselines[each.name] = self._baselines[key] | images.own_scores(each)
        scores = _mean_and_deviation(runs)
        lower = [*self.lower_is_better, *images.lower_is_better]
        entry = {"scores": scores} | ({"baselines": baselines} if baselines else {})
        entry |= {"protocol": self._protocol(images, seeds), "lower_is_better": [n for n in lower if n in scores]}
        return entry | {"seconds": round(time.perf_counter() - started, 2)}, pictures

    def _score(self, images: ImageSet) -> dict[str, float]:
        """Score a set in one pass. The metrics' sums are added over the ranks, and every rank computes the scores."""
        extractor = self.extractor
        sizes = len(images), extractor.name, extractor.dims, extractor.classes
        comparison = Comparison(self.real_features, *sizes, self.device, self.modality)
        metrics = sorted(self._usable.values(), key=lambda metric: metric.builds_on_others)
        for metric in metrics:
            metric.begin(comparison)
        for _, batch in feature_batches(images, extractor, self.batch_size, "scoring"):
            if batch is not None:
                for metric in metrics:
                    metric.add(batch)
        for metric in metrics:
            all_reduce(metric.sums)
        scores = {}
        for metric in metrics:
            signals.raise_if_interrupted()
            scores |= metric.scores(scores)
        return scores

    def _protocol(self, images: ImageSet, seeds: Sequence[int | None]) -> dict:
        reals, settings = self.real_features, {name: metric.protocol() for name, metric in self._usable.items()}
        return {
            "fakes": images.name,
            "samples": len(images),
            **images.facts,
            "seeds": list(seeds),
            "reals": len(reals),
            "reals_available": self.available,
            "real_images": reals.images.name,
            "real_key": reals.folder.name,
            **self.extractor.facts,
            "image_size": list(images.image_size),
            "real_image_size": list(reals.images.image_size),
            "metrics": {name: values for name, values in settings.items() if values},
            "refused": self.refused,
            "packages": protocol.packages(),
        }


def _mean_and_deviation(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the means of the scores that all runs have, and with several runs their deviations as ``NAME_sd``."""
    common = [name for name in runs[0] if all(name in run for run in runs)]
    scores = {name: sum(run[name] for run in runs) / len(runs) for name in common}
    if len(runs) > 1:
        table = torch.tensor([[run[name] for name in common] for run in runs], dtype=torch.float64)
        scores |= dict(zip([f"{name}_sd" for name in common], table.std(0).tolist(), strict=True))
    return scores
