"""Scores of single classes."""

from types import SimpleNamespace

import pytest
import torch

from sparring.evaluation.extractors.base import Batch
from sparring.evaluation.metrics.base import Comparison
from sparring.evaluation.metrics.class_shares import ClassShares
from sparring.evaluation.metrics.per_class import PerClass


class Reals(SimpleNamespace):
    """Reals whose features, labels and seen classes are given."""

    def __len__(self):
        return len(self.values)


def scores(metric, values, labels, fakes, asked, logits=None) -> tuple[dict, list[str]]:
    """A metric's scores of fakes with these features, and the names of those that fall as images get better."""
    reals = Reals(values=values, images=SimpleNamespace(labels=labels), classes=labels)
    logits = torch.zeros(len(fakes), 1) if logits is None else logits
    metric.begin(Comparison(reals, len(fakes), "x", fakes.shape[1], logits.shape[1], torch.device("cpu")))
    for rows in torch.arange(len(fakes)).split(7):
        metric.add(Batch(rows, None, fakes[rows], logits[rows], None if asked is None else asked[rows]))
    return metric.scores({}), [name for name, low in metric.names("x").items() if low]


def test_a_class_that_moved_away_is_found_by_its_distance_and_its_recall():
    values = torch.randn(80, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(80) % 2
    moved = values + labels[:, None] * torch.tensor([30.0, 40.0])
    found, lower = scores(PerClass(), values, labels, moved, labels)
    assert found["intra_fd_x_0"] == pytest.approx(0, abs=1e-6)
    assert found["intra_fd_x_1"] == pytest.approx(2500, rel=1e-6)
    assert found["intra_fd_x"] == pytest.approx(1250) and found["intra_fd_x_worst"] == pytest.approx(2500)
    for name in ("class_recall", "class_coverage"):
        assert [found[f"{name}{end}"] for end in ("", "_worst", "_0", "_1")] == [0.5, 0, 1, 0]
    assert lower == ["intra_fd_x", "intra_fd_x_worst", "intra_fd_x_0", "intra_fd_x_1"]


def test_the_recall_of_a_class_is_the_share_of_its_reals_in_the_balls_of_its_own_fakes():
    # the balls of class 0's fakes reach 1 to each side, those of class 1's 4
    fakes, asked = torch.tensor([[0.0], [1], [2], [3], [10], [14]]), torch.tensor([0, 0, 0, 0, 1, 1])
    values, labels = torch.tensor([[0.5], [3.9], [4.1], [10], [6.1], [5.9]]), torch.tensor([0, 0, 0, 0, 1, 1])
    found, _ = scores(PerClass(k=1), values, labels, fakes, asked)
    assert (found["class_recall_0"], found["class_recall_1"]) == (0.5, 0.5)


def test_the_coverage_of_a_class_is_the_share_of_its_reals_with_one_of_its_fakes_near():
    # the nearest other real is 1, 1 and 8 away; class 1's reals are 2 apart, and a fake of class 0 does not count
    values, labels = torch.tensor([[0.0], [1], [9], [20], [22]]), torch.tensor([0, 0, 0, 1, 1])
    fakes, asked = torch.tensor([[-0.5], [20.0], [30.0], [22.5]]), torch.tensor([0, 0, 1, 1])
    found, _ = scores(PerClass(coverage_k=1), values, labels, fakes, asked)
    assert found["class_coverage_0"] == pytest.approx(1 / 3) and found["class_coverage_1"] == 0.5


def test_the_share_of_each_class_is_that_which_the_head_sees():
    logits = torch.eye(3)[[0, 0, 0, 2]]
    found, _ = scores(ClassShares(), torch.zeros(4, 1), torch.tensor([0, 1, 2, 2]), torch.zeros(4, 1), None, logits)
    assert [found[f"class_share_{i}"] for i in range(3)] == [0.75, 0, 0.25]
    assert found["classes_covered"] == 2, "beside what ClassCoverage says"


@pytest.mark.parametrize(("classes", "listed"), [(100, 100), (101, 0)])
def test_of_many_classes_no_single_values_are_given(classes, listed):
    labels = torch.arange(2 * classes) % classes
    values = torch.randn(len(labels), 2)
    found, _ = scores(PerClass(), values, labels, values, labels)
    assert len(found) == 6 + 3 * listed and found["class_recall"] == 1
    found, _ = scores(ClassShares(), values, labels, values, None, torch.eye(classes)[labels])
    assert len([name for name in found if name.startswith("class_share_")]) == listed
