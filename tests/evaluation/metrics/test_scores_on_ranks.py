"""Two processes give one process's scores, uneven shares included."""

import json
from pathlib import Path

import pytest
import torch

from conftest import Projection, TensorSet, in_ranks, noise_images, small_game
from sparring.distributed.collectives import rank, world_size
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.generated_sets import Generated
from sparring.evaluation.metrics.class_coverage import ClassCoverage
from sparring.evaluation.metrics.classification_accuracy import ClassificationAccuracyScore
from sparring.evaluation.metrics.frechet_distance import FrechetDistance
from sparring.evaluation.metrics.inception_score import InceptionScore
from sparring.evaluation.metrics.intra_class import IntraClassFrechetDistance
from sparring.evaluation.metrics.kernel_distance import KernelDistance
from sparring.evaluation.metrics.memorization import Memorization
from sparring.evaluation.metrics.prdc import PRDC
from sparring.evaluation.sampler import Sampler

METRICS = [
    FrechetDistance,
    KernelDistance,
    InceptionScore,
    PRDC,
    ClassCoverage,
    Memorization,
    IntraClassFrechetDistance,
]
SAMPLES = [80, 73, 5]  # even; uneven; one rank without any


def score(folder: Path) -> None:
    """Score each number of samples; a rank writes its results to ``<samples>/<ranks>-<rank>.json``."""
    for samples in SAMPLES:
        reals = TensorSet(noise_images(130), torch.arange(130) % 3)
        game, extractor = small_game(classes=3), Projection()
        metrics = {kind.__name__: kind() for kind in METRICS} | {"cas": ClassificationAccuracyScore(steps=8)}
        evaluator = Evaluator(extractor, metrics, reals="all", batch_size=10)
        evaluator.prepare(reals, torch.device("cpu"), folder / f"{samples}/cache{world_size()}", labelled=True)

        def fakes(seed):
            return Generated(Sampler(game, game.producer, "running", seed), samples, (8, 8), reals.labels)  # noqa: B023

        result, pictures = evaluator(fakes, [0, 1])
        actual = {"scores": result["scores"], "seen": extractor.seen, "picture": int(pictures["neighbours"].sum())}
        (folder / f"{samples}/{world_size()}-{rank()}.json").write_text(json.dumps(actual))


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    """The folder with the results of one process and of two."""
    folder = tmp_path_factory.mktemp("shares")
    score(folder)
    in_ranks(score, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("samples", SAMPLES)
def test_two_ranks_give_one_ranks_scores_and_each_sees_its_share(samples, scored):
    files = scored / str(samples)
    alone, first, second = (json.loads((files / f"{n}.json").read_text()) for n in ("1-0", "2-0", "2-1"))
    assert first["scores"] == second["scores"] and first["picture"] == alone["picture"]
    for name, value in alone["scores"].items():
        assert first["scores"][name] == pytest.approx(value, rel=1e-3, abs=1e-6), name
    assert first["seen"] + second["seen"] == alone["seen"] == 130 + 2 * samples
    assert {path.name for path in files.glob("cache2/features/*/*")} >= {"values.bin", "facts.json"}
