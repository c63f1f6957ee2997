"""Images per second of this evaluator, torch-fidelity and torchmetrics: the same scores of the same images."""

import contextlib
import io
import json
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils import data as torch_data

from sparring.benchmarks.timing import Count, Rounds, in_turns, per_second, ratios, record, show, timed
from sparring.data import cache
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.extractors.inception import Inception
from sparring.evaluation.image_sets import Decoded, ImageSet, Subset
from sparring.evaluation.metrics.frechet_distance import FrechetDistance
from sparring.evaluation.metrics.kernel_distance import KernelDistance
from sparring.evaluation.metrics.prdc import PRDC
from sparring.training.build import device_of, open_source

Scores = Mapping[str, float | Tensor]


def run(cfg: DictConfig, folder: Path, images: Count = 256, rounds: Rounds = 3, weights: str | None = None) -> None:
    """Print and record (``benchmark.json``) the images per second of each way, and the ratios of each round.

    The images are of the data of ``cfg``; conf/benchmark/evaluation.yaml explains the other arguments.
    """
    data, device = cache.load(open_source(cfg), cfg.cache), device_of(cfg)
    chosen = Subset(Decoded(data), 2 * images)
    pixels = chosen.images(range(2 * images)).expand(-1, 3, -1, -1).contiguous()
    ways = {
        "this evaluator: FID, KID, precision, recall, density, coverage": score_with_evaluator,
        "torch-fidelity: FID, KID, precision, recall": score_with_torch_fidelity,
        "torchmetrics: FID, KID, IS, an extractor each": score_with_torchmetrics,
    }

    def seconds_per_image(name: str) -> float:
        def score() -> None:
            scores = ways[name](pixels[::2], pixels[1::2], weights, device)
            print(name, json.dumps({key: round(float(value), 4) for key, value in scores.items()}), flush=True)

        return timed(score, device) / len(pixels)

    seconds = in_turns({name: partial(seconds_per_image, name) for name in ways}, rounds)
    first, *others = ways
    figures = {"images_per_second": per_second(seconds)}
    figures["ratios"] = {name: ratios(seconds[first], seconds[name]) for name in others}
    show(figures | {"note": "ratios: the speed of this evaluator over that of the others"})
    record(folder, figures, device)


class _Pixels(ImageSet):
    """A tensor of images as a set for this evaluator."""

    name = "benchmark"

    def __init__(self, pixels: Tensor):
        self.pixels, self.identity = pixels, {"benchmark": time.time()}
        self.image_size = pixels.shape[-2], pixels.shape[-1]

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, rows: Sequence[int]) -> Tensor:
        return self.pixels[list(rows)]


def score_with_evaluator(reals: Tensor, fakes: Tensor, weights: str | None, device: torch.device) -> Scores:
    """Return this evaluator's scores of uint8 images (N, 3, H, W)."""
    metrics = {"fid": FrechetDistance(), "kid": KernelDistance(subset_size=len(reals)), "prdc": PRDC()}
    evaluator = Evaluator(Inception(weights), metrics, samples=len(fakes), reals="all", seeds=1)
    with tempfile.TemporaryDirectory() as empty_cache:
        evaluator.prepare(_Pixels(reals), device, empty_cache)
        return evaluator(lambda _: _Pixels(fakes), [None])[0]["scores"]


def score_with_torch_fidelity(reals: Tensor, fakes: Tensor, weights: str | None, device: torch.device) -> Scores:
    """Return torch-fidelity's scores of uint8 images (N, 3, H, W)."""
    from torch_fidelity import calculate_metrics

    scores = {"fid": True, "kid": True, "prc": True, "kid_subset_size": len(reals)}
    inception = {"feature_extractor": "inception-v3-compat", "feature_extractor_weights_path": weights}
    options = {"cuda": device.type == "cuda", "cache": False, "verbose": False}
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        sets = [torch_data.Subset(cast(Any, images), range(len(images))) for images in (fakes, reals)]
        return calculate_metrics(input1=sets[0], input2=sets[1], **scores, **inception, **options)


def score_with_torchmetrics(reals: Tensor, fakes: Tensor, weights: str | None, device: torch.device) -> Scores:
    """Return torchmetrics' scores of uint8 images (N, 3, H, W)."""
    from torchmetrics.image.fid import FrechetInceptionDistance, NoTrainInceptionV3
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    def extractor(layer: str) -> nn.Module:
        network = NoTrainInceptionV3("inception-v3-compat", [layer], weights)
        network.num_features = 2048  # pyright: ignore[reportArgumentType]
        return network

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fid = FrechetInceptionDistance(extractor("2048")).to(device)
        kid = KernelInceptionDistance(extractor("2048"), subset_size=len(reals)).to(device)
        inception = InceptionScore(extractor("logits_unbiased")).to(device)
        for images, real in ((reals, True), (fakes, False)):
            for part in images.to(device).split(64):
                fid.update(part, real=real)
                kid.update(part, real=real)
                if not real:
                    inception.update(part)
        return {"fid": fid.compute(), "kid": kid.compute()[0], "inception_score": inception.compute()[0]}
