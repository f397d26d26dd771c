from __future__ import annotations

import pytest

from raft_app.engine.tick_intervals import BOUNDS, TickIntervals


def after(*seconds: float) -> TickIntervals:
    """Return what was counted of ticks so long after one another."""
    times = iter([100.0, *(100.0 + sum(seconds[: n + 1]) for n in range(len(seconds)))])
    intervals = TickIntervals(50, clock=lambda: next(times))
    for _ in range(len(seconds) + 1):
        intervals.ticked()
    return intervals


def test_the_first_tick_comes_after_none() -> None:
    assert after().times.cumulated() == [0] * (len(BOUNDS) + 1)
    assert (after().late, after().times.sum) == (0, 0)


def test_each_tick_is_counted_by_the_time_since_the_one_before() -> None:
    intervals = after(0.05, 0.051, 0.06, 0.09, 0.15, 3.0)
    assert intervals.times.cumulated() == [2, 3, 3, 4, 5, 5, 5, 6]
    assert intervals.times.sum == pytest.approx(3.401)


def test_a_tick_is_late_that_comes_after_more_than_two_intervals() -> None:
    assert after(0.05, 0.0999, 0.11, 2.0).late == 2


def test_ticks_that_come_at_once_share_the_time_since_the_last() -> None:
    times = iter([100.0, 100.1, 100.25])
    intervals = TickIntervals(50, clock=lambda: next(times))
    intervals.ticked()
    intervals.ticked(2)
    assert intervals.times.cumulated() == [2] * (len(BOUNDS) + 1)
    intervals.ticked()
    assert (intervals.late, intervals.times.sum) == (1, pytest.approx(0.25))


def test_bounds_are_in_seconds() -> None:
    assert after().times.bounds == pytest.approx((0.055, 0.0625, 0.075, 0.1, 0.2, 0.5, 1.0))
