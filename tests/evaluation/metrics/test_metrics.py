"""Scores of features: known answers, and those of torch-fidelity and torchmetrics."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison
from sparring.evaluation.metrics.class_coverage import ClassCoverage
from sparring.evaluation.metrics.frechet_distance import FrechetDistance
from sparring.evaluation.metrics.inception_score import InceptionScore
from sparring.evaluation.metrics.intra_class import IntraClassFrechetDistance
from sparring.evaluation.metrics.kernel_distance import KernelDistance
from sparring.evaluation.metrics.memorization import Memorization
from sparring.evaluation.metrics.prdc import PRDC


class Reals:
    """Reals whose features are given."""

    def __init__(self, values=None, logits=None, labels=None):
        self.values = torch.zeros(len(logits), 1) if values is None else values
        self.classes = None if logits is None else logits.argmax(1)
        self.images = SimpleNamespace(labels=labels)

    def __len__(self):
        return len(self.values)

    def cached(self, name, make):
        return make()


def scores(metric, reals: Reals, values=None, logits=None, labels=None, extractor="x", batch=64) -> dict:
    """The scores of fakes whose features are given, added batch by batch in another order."""
    values = torch.zeros(len(logits), 1) if values is None else values
    logits = torch.zeros(len(values), 1) if logits is None else logits
    count = len(values)
    metric.begin(Comparison(reals, count, extractor, values.shape[1], logits.shape[1], torch.device("cpu")))
    for rows in reversed(torch.arange(count).split(batch)):
        metric.add(Batch(rows, None, values[rows], logits[rows], None if labels is None else labels[rows]))
    return metric.scores({})


def gaussian(count: int, mean=0.0, scale=1.0, dims: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed)) * scale + mean


def seen_as(classes: list[int], of_classes: int = 3) -> torch.Tensor:
    """Logits that are sure of these classes."""
    return torch.nn.functional.one_hot(torch.tensor(classes), of_classes) * 100.0


def frechet(reals: torch.Tensor, fakes: torch.Tensor) -> float:
    (score,) = scores(FrechetDistance(), Reals(reals), fakes).values()
    return score


def prdc(reals: torch.Tensor, fakes: torch.Tensor, **options) -> dict[str, float]:
    return scores(PRDC(**options), Reals(reals), fakes)


def inception_score(logits: torch.Tensor, splits: int = 10) -> dict[str, float]:
    return scores(InceptionScore(splits), Reals(torch.zeros(2, 1)), logits=logits)


def coverage(reals: torch.Tensor, fakes: torch.Tensor, labels=None) -> dict[str, float]:
    return scores(ClassCoverage(), Reals(logits=reals), logits=fakes, labels=labels)


def test_the_frechet_distance_of_a_set_to_itself_is_zero_in_any_order():
    values = gaussian(500)
    assert abs(frechet(values, values[torch.randperm(500)])) < 1e-6


def test_the_frechet_distance_of_a_shift_is_its_squared_length_and_of_a_stretch_that_of_the_deviations():
    values = gaussian(500)
    assert frechet(values, values + torch.arange(8.0)) == pytest.approx(140, rel=1e-5)  # 0 + 1 + 4 + ... + 49
    centred = values - values.mean(0)
    assert frechet(centred, 3 * centred) == pytest.approx(4 * centred.double().var(0).sum().item(), rel=1e-5)


def test_the_frechet_distance_of_correlated_features_is_the_formulas_in_both_directions():
    reals, fakes = gaussian(2000), gaussian(1500, 0.5, 2.0, seed=1) @ gaussian(8, seed=2)
    a, b = reals.double().numpy(), fakes.double().numpy()
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert [frechet(reals, fakes), frechet(fakes, reals)] == pytest.approx([expected] * 2, rel=1e-9)


@pytest.mark.parametrize("dims", [6, 300])  # 300: fewer samples than dimensions
def test_the_frechet_distance_is_torch_fidelitys_and_torchmetrics(dims):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torchmetrics.image.fid import FrechetInceptionDistance

    reals, fakes = gaussian(300, 3.0, dims=dims).relu(), gaussian(200, 2.5, 1.5, dims, seed=1).relu()
    statistics = [fid_features_to_statistics(values.double()) for values in (reals, fakes)]
    actual = frechet(reals, fakes)
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert actual == pytest.approx(expected, rel=1e-6)
    ready = torch.nn.Identity()
    ready.num_features = dims
    distance = FrechetInceptionDistance(ready).set_dtype(torch.float64)
    distance.update(reals, real=True)
    distance.update(fakes, real=False)
    assert actual == pytest.approx(float(distance.compute()), rel=1e-6)


def test_scores_are_named_after_the_extractor_and_say_which_way_is_better():
    metrics = (FrechetDistance(), KernelDistance(), InceptionScore(), Memorization(), IntraClassFrechetDistance())
    names = {name: low for metric in metrics for name, low in metric.names("inception").items()}
    lower = {"fid", "kid", "mifid", "intra_fid", "intra_fid_worst"}
    assert {name for name, low in names.items() if low} == lower
    assert names.keys() - lower == {"inception_score", "authenticity"}
    others = {name for metric in metrics for name in metric.names("clip")}
    assert not others & {"fid", "kid", "mifid", "inception_score", "intra_fid"}, "never in other features"


def test_precision_recall_density_and_coverage_of_a_set_with_itself_are_one_and_of_far_sets_zero():
    values = gaussian(200)
    assert prdc(values, values) == dict.fromkeys(["precision", "recall", "density", "coverage"], 1.0)
    assert prdc(values, values + 100) == dict.fromkeys(["precision", "recall", "density", "coverage"], 0.0)


def test_a_generator_that_lost_a_mode_is_precise_and_recalls_and_covers_half():
    reals = torch.cat([gaussian(200, seed=1), gaussian(200, 50, seed=2)])
    lost, spread = reals[:200], torch.cat([reals, gaussian(400, 500, seed=3)])
    actual = prdc(reals, lost)
    assert (actual["precision"], actual["recall"], actual["coverage"]) == (1.0, 0.5, 0.5) and actual["density"] > 0.9
    actual = prdc(reals, spread)
    assert (actual["precision"], actual["recall"], actual["coverage"]) == (0.5, 1.0, 1.0)


def test_k_is_the_neighbour_that_bounds_a_ball():
    reals, fakes = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[4.5], [-1.5], [9.0]])
    # k=1: balls of the reals' radius 1, 1, 2 hold 4.5 alone; k=2: of radius 3, 2, 3 hold -1.5, too
    assert prdc(reals, fakes, k=1)["precision"] == pytest.approx(1 / 3)
    assert prdc(reals, fakes, k=2)["precision"] == pytest.approx(2 / 3)
    actual = prdc(reals, fakes, density_k=2)
    assert actual["density"] == pytest.approx(2 / (2 * 3)) and actual["coverage"] == pytest.approx(2 / 3)


def test_precision_and_recall_are_torch_fidelitys_and_density_and_coverage_the_papers():
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    reals, fakes = gaussian(700, 0.2, dims=6), gaussian(500, scale=0.9, dims=6, seed=1)
    actual = prdc(reals, fakes)
    assert (actual["precision"], actual["recall"]) == pytest.approx(calculate_precision_recall_full(fakes, reals, 3))
    assert 0.1 < actual["precision"] < 1 and 0.1 < actual["recall"] < 1
    a, b = reals.double().numpy(), fakes.double().numpy()  # Naeem et al. 2020, equations 3 and 4
    radius = np.sort(cdist(a, a), 1)[:, 5]
    within = cdist(a, b) < radius[:, None]
    assert actual["density"] == pytest.approx(within.sum() / (5 * 500)) and 0.1 < actual["density"] < 2
    assert actual["coverage"] == pytest.approx(within.any(1).mean()) and 0.1 < actual["coverage"] < 1


def test_reals_that_are_sorted_by_class_are_compared_by_a_fair_sample():
    reals = torch.cat([gaussian(400, seed=1), gaussian(400, 50, seed=2)])
    fakes = torch.cat([gaussian(400, seed=3), gaussian(400, 50, seed=4)])[torch.randperm(800)]
    actual = prdc(reals, fakes, samples=400)
    assert actual["precision"] > 0.8 and actual["recall"] > 0.8


@pytest.mark.parametrize("counts", [(300, 400), (1000, 1000)])
def test_the_kernel_distance_is_torch_fidelitys(counts):
    from torch_fidelity.metric_kid import kid_features_to_metric

    fakes, reals = gaussian(counts[0], 0.3, dims=32), gaussian(counts[1], dims=32, seed=1)
    size = min(200, *counts) if counts[0] < 1000 else 1000
    options = {"kid_subsets": 100, "kid_subset_size": size, "verbose": False}
    expected = kid_features_to_metric(fakes, reals, **options)["kernel_inception_distance_mean"]
    actual = scores(KernelDistance(subset_size=size), Reals(reals), fakes, extractor="inception")
    assert actual["kid"] == pytest.approx(expected, rel=1e-5)
    assert ("kid_low" in actual) == (counts[0] > size)


def test_the_kernel_distances_interval_holds_the_true_distance_as_often_as_it_says():
    shift, dims = 0.35, 4
    true = scores(KernelDistance(10, 3000), Reals(gaussian(9000, dims=dims)), gaussian(9000, shift, dims=dims, seed=1))
    hits = 0
    for i in range(40):
        reals, fakes = gaussian(400, dims=dims, seed=2 * i + 10), gaussian(400, shift, dims=dims, seed=2 * i + 11)
        actual = scores(KernelDistance(30, 100), Reals(reals), fakes)
        assert actual["kd_x_low"] < actual["kd_x"] < actual["kd_x_high"]
        hits += actual["kd_x_low"] <= true["kd_x"] <= actual["kd_x_high"]
    assert hits >= 34  # 38 expected; with all subsets taken for independent it would be about 15


def test_the_inception_score_of_evenly_seen_classes_is_their_number():
    assert inception_score(seen_as([0, 1, 2, 3, 4] * 40, 5), 1) == {"x_score": pytest.approx(5), "x_score_std": 0}
    for logits in (torch.zeros(50, 4), seen_as([2] * 50)):  # a classifier that can't tell, or sees one class
        assert inception_score(logits)["x_score"] == pytest.approx(1)


@pytest.mark.parametrize(("count", "splits"), [(300, 1), (300, 10), (307, 10)])
def test_the_inception_score_is_torch_fidelitys(count, splits):
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = 2 * gaussian(count, dims=6)
    expected = isc_features_to_metric(logits, splits)
    actual = inception_score(logits, splits)
    assert actual["x_score"] == pytest.approx(expected["inception_score_mean"], rel=1e-9)
    assert actual["x_score_std"] == pytest.approx(expected["inception_score_std"], rel=1e-6)


def test_the_intra_class_distance_is_the_mean_of_the_classes_distances():
    reals, fakes = gaussian(300, seed=1), gaussian(200, 1.0, seed=2)
    known, asked = torch.arange(300) % 3, torch.arange(200) % 2  # no fake of class 2
    metric = IntraClassFrechetDistance()
    actual = scores(metric, Reals(reals, labels=known), fakes, labels=asked, extractor="inception")
    each = [frechet(reals[known == i], fakes[asked == i]) for i in (0, 1)]
    assert actual == {"intra_fid": pytest.approx(sum(each) / 2), "intra_fid_worst": pytest.approx(max(each))}
    assert metric.protocol() == {"classes_left_out": 1}


@pytest.mark.parametrize(
    ("fakes", "covered"),
    [
        ([0] * 96 + [2] * 4, 1),  # class 1: none; class 2: 4 % of the fakes, under a tenth of 50 %
        ([0] * 91 + [1] * 3 + [2] * 6, 3),
        ([0] * 95 + [2] * 5, 2),  # exactly a tenth is enough
    ],
)
def test_class_coverage_counts_the_classes_with_a_tenth_of_their_share(fakes, covered):
    reals = seen_as([0] * 100 + [1] * 100 + [2] * 200)
    assert coverage(reals, seen_as(fakes))["classes_covered"] == covered


@pytest.mark.parametrize(
    ("classes", "entropy"),
    [([0, 1, 2] * 5, math.log(3)), ([1] * 9, 0.0), ([0, 0, 1, 2], 1.5 * math.log(2))],
)
def test_class_entropy_is_in_nats(classes, entropy):
    assert coverage(seen_as([0, 1, 2]), seen_as(classes))["class_entropy"] == pytest.approx(entropy, abs=1e-6)


def test_label_accuracy_is_the_share_of_fakes_seen_as_what_was_asked_for():
    reals, logits = seen_as([0, 1, 2]), seen_as([0, 1, 2, 2])
    assert coverage(reals, logits, torch.tensor([0, 1, 2, 0]))["label_accuracy"] == 0.75
    assert "label_accuracy" not in coverage(reals, logits), "none was asked for"
