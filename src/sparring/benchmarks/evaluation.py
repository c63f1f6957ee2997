"""Images per second of three ways to the same scores, on the same images, one after the other in each round."""

import contextlib
import io
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import Dataset

from sparring.benchmarks.timing import in_turns, ratios, record, spread
from sparring.data import cache
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.extractors.inception import Inception
from sparring.evaluation.image_sets import Decoded, ImageSet, Subset
from sparring.evaluation.metrics.frechet_distance import FrechetDistance
from sparring.evaluation.metrics.kernel_distance import KernelDistance
from sparring.evaluation.metrics.prdc import PRDC
from sparring.training.build import device_of, open_source


def run(cfg: DictConfig, folder: Path, images: int = 256, rounds: int = 3, weights: str | None = None) -> None:
    """Print and keep (``benchmark.json``) the images per second of each way, and the ratios of each round.

    Args:
        cfg: of its data two sets are drawn.
        folder: where the figures are written.
        images: of each set.
        rounds: each times every way once.
        weights: of Inception; None for torch-fidelity's download.
    """
    data, device = cache.load(open_source(cfg), cfg.cache), device_of(cfg)
    chosen = Subset(Decoded(data), 2 * images)
    pixels = chosen.images(range(2 * images)).expand(-1, 3, -1, -1).contiguous()
    halves = pixels[::2], pixels[1::2]
    path = str(Inception(weights).weights_file)
    ways: dict[str, Callable[[], dict]] = {
        "this evaluator: FID, KID, precision, recall, density, coverage": lambda: _ours(*halves, path, device),
        "torch-fidelity: FID, KID, precision, recall": lambda: _torch_fidelity(*halves, path, device),
        "torchmetrics: FID, KID, IS, an extractor each": lambda: _torchmetrics(*halves, path, device),
    }

    def timed(name: str, way: Callable[[], dict]) -> int:
        print(f"{name}  {_brief(way())}", flush=True)
        return len(pixels)

    seconds = in_turns({name: partial(partial, timed, name, way) for name, way in ways.items()}, rounds, device)
    speeds = {name: [1 / s for s in each] for name, each in seconds.items()}
    first, *others = seconds
    found = {name: ratios(seconds[first], seconds[name]) for name in others}
    print(f"\nmedian of {rounds} rounds, {images} images beside {images}")
    for name, each in speeds.items():
        print(f"  {statistics.median(each):8.1f} images/s  {name}")
    for name, each in found.items():
        print(f"  {spread(each)} x the speed of {name.partition(':')[0]}")
    record(folder, {"images_per_second": speeds, "ratios": found}, device)


def _brief(scores: dict[str, float]) -> str:
    return json.dumps({name: round(float(value), 4) for name, value in scores.items()})


class _Pixels(ImageSet, Dataset):
    """A tensor as the set of images that torch-fidelity and this evaluator take."""

    name = "benchmark"

    def __init__(self, pixels: Tensor):
        self.pixels, self.image_size, self.identity = pixels, tuple(pixels.shape[-2:]), {"benchmark": time.time()}

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, row: int) -> Tensor:
        return self.pixels[row]

    def images(self, rows: range) -> Tensor:
        return self.pixels[rows.start : rows.stop]


def _ours(reals: Tensor, fakes: Tensor, weights: str, device: torch.device) -> dict[str, float]:
    metrics = {"fid": FrechetDistance(), "kid": KernelDistance(subset_size=len(reals)), "prdc": PRDC()}
    evaluator = Evaluator(Inception(weights), metrics, samples=len(fakes), reals="all", seeds=1)
    with tempfile.TemporaryDirectory() as cache:  # nothing is taken from an earlier round
        evaluator.prepare(_Pixels(reals), device, cache)
        return evaluator(lambda _: _Pixels(fakes), [None])[0]["scores"]


def _torch_fidelity(reals: Tensor, fakes: Tensor, weights: str, device: torch.device) -> dict[str, float]:
    from torch_fidelity import calculate_metrics

    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        return calculate_metrics(
            input1=_Pixels(fakes),
            input2=_Pixels(reals),
            cuda=device.type == "cuda",
            fid=True,
            kid=True,
            prc=True,
            kid_subset_size=len(reals),
            feature_extractor="inception-v3-compat",
            feature_extractor_weights_path=weights,
            cache=False,
            verbose=False,
        )


def _torchmetrics(reals: Tensor, fakes: Tensor, weights: str, device: torch.device) -> dict[str, float]:
    from torchmetrics.image.fid import FrechetInceptionDistance, NoTrainInceptionV3
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    def extractor(layer: str) -> nn.Module:
        network = NoTrainInceptionV3("inception-v3-compat", [layer], weights)
        network.num_features = 2048
        return network

    scores = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pair = [
            FrechetInceptionDistance(extractor("2048")),
            KernelInceptionDistance(extractor("2048"), subset_size=len(reals)),
        ]
        for metric in [*pair, InceptionScore(extractor("logits_unbiased"))]:
            metric.to(device)
            for images, real in ((reals, True), (fakes, False)):
                for part in images.split(64):
                    if isinstance(metric, InceptionScore):
                        if not real:
                            metric.update(part.to(device))
                    else:
                        metric.update(part.to(device), real=real)
            value = metric.compute()
            scores[type(metric).__name__] = value[0] if isinstance(value, tuple) else value
    return scores
