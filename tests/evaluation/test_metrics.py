"""Scores with known answers."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from sparring.evaluation.features import Extractor, Features
from sparring.evaluation.metrics import ClassCoverage, ClassifierScore, FrechetDistance, PrecisionRecall


def of(values=None, logits=None, labels=None) -> Features:
    values = torch.zeros(len(logits), 1) if values is None else values
    return Features(values, torch.zeros(len(values), 1) if logits is None else logits, labels)


def gaussian(count: int, mean=0.0, scale=1.0, dims: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed)) * scale + mean


def seen_as(classes: list[int], of_classes: int = 3) -> torch.Tensor:
    """Logits of a classifier that is sure of these classes."""
    return torch.nn.functional.one_hot(torch.tensor(classes), of_classes) * 100.0


def frechet(reals: torch.Tensor, fakes: torch.Tensor) -> float:
    (score,) = FrechetDistance("fd")(of(reals), of(fakes)).values()
    return score


def test_the_frechet_distance_of_a_set_to_itself_is_nothing():
    values = gaussian(500)
    assert abs(frechet(values, values)) < 1e-6
    assert abs(frechet(values, values[torch.randperm(500)])) < 1e-6, "whatever the order"


def test_the_frechet_distance_of_a_shift_is_its_squared_length_and_of_a_stretch_that_of_the_deviations():
    values = gaussian(500)
    assert frechet(values, values + torch.arange(8.0)) == pytest.approx(140, rel=1e-5)  # 0 + 1 + 4 + ... + 49
    centred = values - values.mean(0)
    assert frechet(centred, 3 * centred) == pytest.approx(4 * centred.double().var(0).sum().item(), rel=1e-5)


def test_the_frechet_distance_of_two_gaussians_is_the_formulas():
    reals, fakes = gaussian(2000), gaussian(1500, 0.5, 2.0, seed=1) @ gaussian(8, seed=2)
    a, b = reals.double().numpy(), fakes.double().numpy()
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet(reals, fakes) == pytest.approx(expected, rel=1e-5)
    assert frechet(fakes, reals) == pytest.approx(expected, rel=1e-5)


def test_the_frechet_distance_is_torch_fidelitys():
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    reals, fakes = gaussian(300, 3.0).relu(), gaussian(200, 2.5, 1.5, seed=1).relu()
    statistics = [fid_features_to_statistics(values.double()) for values in (reals, fakes)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet(reals, fakes) == pytest.approx(expected, rel=1e-5)


def test_only_the_frechet_distance_falls_as_images_get_better():
    assert (
        FrechetDistance("fd_x").lower_is_better
        == {"fd_x"}
        == set(FrechetDistance("fd_x")(of(gaussian(9)), of(gaussian(9))))
    )
    assert not any(metric.lower_is_better for metric in (ClassifierScore(), PrecisionRecall(), ClassCoverage()))


def test_precision_and_recall_of_a_set_with_itself_are_one_and_of_far_sets_nought():
    values = gaussian(200)
    assert PrecisionRecall()(of(values), of(values)) == {"precision": 1.0, "recall": 1.0}
    assert PrecisionRecall()(of(values), of(values + 100)) == {"precision": 0.0, "recall": 0.0}


def test_a_generator_that_lost_a_mode_is_precise_and_recalls_half():
    reals = torch.cat([gaussian(200, seed=1), gaussian(200, 50, seed=2)])
    lost, spread = reals[:200], torch.cat([reals, gaussian(400, 500, seed=3)])
    assert PrecisionRecall()(of(reals), of(lost)) == {"precision": 1.0, "recall": 0.5}
    assert PrecisionRecall()(of(reals), of(spread)) == {"precision": 0.5, "recall": 1.0}


def test_the_neighborhood_is_the_kth_neighbour_that_bounds_a_ball():
    reals, fakes = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[4.5], [-1.5], [9.0]])
    # k=1: balls of the reals' radius 1, 1, 2 hold 4.5 alone; k=2: of radius 3, 2, 3 hold -1.5, too
    assert PrecisionRecall(1)(of(reals), of(fakes))["precision"] == pytest.approx(1 / 3)
    assert PrecisionRecall(2)(of(reals), of(fakes))["precision"] == pytest.approx(2 / 3)


def test_reals_that_are_sorted_by_class_are_compared_by_a_fair_sample():
    reals = torch.cat([gaussian(400, seed=1), gaussian(400, 50, seed=2)])
    fakes = torch.cat([gaussian(400, seed=3), gaussian(400, 50, seed=4)])[torch.randperm(800)]
    scores = PrecisionRecall(samples=400)(of(reals), of(fakes))
    assert scores["precision"] > 0.8 and scores["recall"] > 0.8


def test_the_classifier_score_of_sure_and_even_classes_is_their_number():
    even = seen_as([0, 1, 2, 3, 4] * 40, 5)
    assert ClassifierScore(splits=1)(of(logits=even), of(logits=even))["classifier_score"] == pytest.approx(5)


def test_the_classifier_score_of_a_classifier_that_cannot_tell_or_sees_one_class_is_one():
    for logits in (torch.zeros(50, 4), seen_as([2] * 50)):
        assert ClassifierScore()(of(logits=logits), of(logits=logits))["classifier_score"] == pytest.approx(1)


def test_the_classifier_score_is_the_formulas_and_judges_the_fakes():
    logits = 2 * gaussian(300, dims=6)
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    expected = math.exp((p * np.log(p / p.mean(0))).sum(1).mean())
    scores = ClassifierScore(splits=1)(of(logits=torch.zeros(300, 6)), of(logits=logits))
    assert scores == {"classifier_score": pytest.approx(expected, rel=1e-9)}
    split = ClassifierScore(splits=10)(of(logits=logits), of(logits=logits))["classifier_score"]
    assert 1 < split < expected, "a split's classes are fewer, and vary less"


def test_class_coverage_counts_the_classes_with_a_tenth_of_their_share():
    reals = seen_as([0] * 100 + [1] * 100 + [2] * 200)
    scores = ClassCoverage()(of(logits=reals), of(logits=seen_as([0] * 96 + [2] * 4)))
    assert scores["classes_covered"] == 1  # class 1: none; class 2: 4 % of the fakes, under a tenth of 50 %
    scores = ClassCoverage()(of(logits=reals), of(logits=seen_as([0] * 91 + [1] * 3 + [2] * 6)))
    assert scores["classes_covered"] == 3


def test_exactly_a_tenth_of_the_share_is_enough():
    reals, fakes = seen_as([0] * 30 + [1] * 20), seen_as([0] * 3 + [1] * 47)
    assert ClassCoverage()(of(logits=reals), of(logits=fakes))["classes_covered"] == 2


@pytest.mark.parametrize(
    ("classes", "entropy"),
    [([0, 1, 2] * 5, math.log(3)), ([1] * 9, 0.0), ([0, 0, 1, 2], 1.5 * math.log(2))],
)
def test_class_entropy_is_in_nats(classes, entropy):
    scores = ClassCoverage()(of(logits=seen_as([0, 1, 2])), of(logits=seen_as(classes)))
    assert scores["class_entropy"] == pytest.approx(entropy, abs=1e-6)


def test_label_accuracy_is_the_share_of_fakes_seen_as_what_was_asked_for():
    reals, logits = of(logits=seen_as([0, 1, 2])), seen_as([0, 1, 2, 2])
    assert ClassCoverage()(reals, of(logits=logits, labels=torch.tensor([0, 1, 2, 0])))["label_accuracy"] == 0.75
    assert "label_accuracy" not in ClassCoverage()(reals, of(logits=logits)), "none was asked for"


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_features_are_those_of_all_images_in_order_whatever_the_batch(batch_size):
    class Mean(Extractor):
        def __call__(self, images):
            means = images.float().mean((1, 2, 3))
            return means[:, None], torch.stack([means, -means], 1)

    images, labels = torch.arange(7, dtype=torch.uint8)[:, None, None, None].expand(7, 3, 2, 2), torch.arange(7)
    features = Mean().extract(images, labels, batch_size)
    assert torch.equal(features.values, torch.arange(7.0)[:, None]) and len(features) == 7
    assert torch.equal(features.logits[:, 1], -torch.arange(7.0)) and torch.equal(features.labels, labels)
