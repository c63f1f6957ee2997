"""Schedules against their closed forms."""

import math

import pytest

from sparring.training.schedules import Constant, Cosine, Linear

# kimg, share of the way from 20 to 100 kimg
WAY = [(0, 0), (19.9, 0), (20, 0), (40, 0.25), (60, 0.5), (90, 0.875), (100, 1), (100.1, 1), (1e6, 1)]


@pytest.mark.parametrize("kimg", [0, 0.5, 1e6])
def test_constant_is_one(kimg):
    assert Constant()(kimg) == 1


@pytest.mark.parametrize(("kimg", "share"), WAY)
@pytest.mark.parametrize("final", [0.0, 0.1, 3.0])
def test_linear_is_one_then_a_straight_line_then_final(kimg, share, final):
    assert Linear(100, start_kimg=20, final=final)(kimg) == pytest.approx((1 - share) + share * final, abs=1e-12)


@pytest.mark.parametrize(("kimg", "share"), WAY)
@pytest.mark.parametrize("final", [0.0, 0.1, 3.0])
def test_cosine_is_one_then_half_a_cosine_then_final(kimg, share, final):
    high = math.cos(math.pi * share / 2) ** 2  # (1 + cos x) / 2 = cos^2(x / 2)
    assert Cosine(100, start_kimg=20, final=final)(kimg) == pytest.approx(high + (1 - high) * final, abs=1e-12)


def test_by_default_a_schedule_falls_from_the_start_to_zero():
    assert [Linear(8)(kimg) for kimg in (0, 2, 4, 8)] == [1, 0.75, 0.5, 0]
    assert [Cosine(8)(kimg) for kimg in (0, 2, 4, 6, 8)] == pytest.approx(
        [1, 0.8535533905932737, 0.5, 0.14644660940672627, 0]
    )


@pytest.mark.parametrize(("schedule", "middle"), [(Linear, 0.5), (Cosine, 0.5)])
def test_a_schedule_may_rise(schedule, middle):
    rising = schedule(8, initial=0.0, final=2.0)
    assert [rising(kimg) for kimg in (0, 4, 8, 9)] == pytest.approx([0, 2 * middle, 2, 2])


@pytest.mark.parametrize("schedule", [Linear, Cosine])
@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 5), (6, 5), (-1, 5), (0, -5), (0, math.nan)])
def test_ends_that_do_not_follow_each_other_are_refused(schedule, start, end):
    with pytest.raises(ValueError, match=f"got {start} and {end}"):
        schedule(end, start_kimg=start)
