"""Running means of what a step records."""

import pytest
import torch

from sparring.training.running_means import RunningMeans


def scalars(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def test_read_gives_the_mean_of_every_scalar():
    means = RunningMeans()
    for i in range(4):
        means.record(scalars(a=float(i), b=-2.0), iteration=i + 1)
    assert means.read() == {"a": 1.5, "b": -2.0}


def test_scalars_that_are_recorded_more_rarely_have_their_own_count():
    means = RunningMeans()
    for i in range(6):
        means.record(scalars(loss=float(i)), i + 1)
        if i % 3 == 0:
            means.record(scalars(norm=10.0 * i), i + 1)
    assert means.read() == {"loss": 2.5, "norm": 15.0}


def test_a_scalar_has_one_mean_in_whatever_company_it_is_recorded():
    means = RunningMeans()
    for i in range(4):  # a lazy regularizer's term joins the others now and then
        means.record(scalars(loss=float(i)) | (scalars(r1=7.0) if i == 0 else {}), i + 1)
    assert means.read() == {"loss": 1.5, "r1": 7.0}


def test_reading_starts_the_count_anew():
    means = RunningMeans()
    means.record(scalars(a=1.0), 1)
    means.record(scalars(b=1.0), 1)
    assert means.read() == {"a": 1.0, "b": 1.0}
    assert means.read() == {}
    means.record(scalars(a=3.0), 2)
    assert means.read() == {"a": 3.0}, "what was not recorded since is left out"


def test_an_empty_record_changes_nothing():
    means = RunningMeans()
    means.record({}, 1)
    assert means.read() == {} and means.first_bad() is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_the_scalar_that_stopped_being_finite_first_is_named_with_its_iteration(bad):
    means = RunningMeans()
    for i in range(1, 10):
        means.record(scalars(fine=1.0, late=bad if i >= 7 else 0.0), i)
        means.record(scalars(early=bad if i in (5, 6, 9) else 0.0), i)
        assert means.first_bad() == (None if i < 5 else ("early", 5))


def test_a_bad_scalar_is_remembered_when_its_mean_was_read():
    means = RunningMeans()
    means.record(scalars(a=float("nan")), 3)
    means.read()
    means.record(scalars(a=1.0), 4)
    assert means.first_bad() == ("a", 3) and means.read() == {"a": 1.0}


def test_recording_keeps_no_graph_and_counts_in_float32():
    means = RunningMeans()
    value = torch.tensor(1.0, requires_grad=True)
    for i in range(512):
        means.record({"a": (value * 1.01).bfloat16()}, i)  # 1.0078125; a sum in bfloat16 would stop at 256
    assert not any(tensor.requires_grad for _, row in means.state_dict() for tensor in row.values())
    assert means.read() == {"a": 1.0078125}
