from __future__ import annotations

from benchmarks.measurement import Figure, Summary
from benchmarks.target import Bound, Target, at_least, at_most

RUNS = Summary(median=100, least=50, greatest=200)


def test_a_target_is_for_the_median():
    assert at_least(Figure.PER_SECOND, 100).is_met(RUNS)
    assert not at_least(Figure.PER_SECOND, 101).is_met(RUNS)
    assert at_most(Figure.P50_MS, 100).is_met(RUNS)
    assert not at_most(Figure.P50_MS, 99).is_met(RUNS)


def test_a_target_for_the_worst_run_looks_at_the_bad_side():
    assert not at_most(Figure.LONGEST_MS, 199, worst=True).is_met(RUNS)
    assert at_most(Figure.LONGEST_MS, 200, worst=True).is_met(RUNS)
    assert not Target(Figure.PER_SECOND, Bound.AT_LEAST, 51, worst=True).is_met(RUNS)


def test_a_target_shows_its_bound():
    assert str(at_least(Figure.PER_SECOND, 300_000)) == ">= 300,000"
    assert str(at_most(Figure.LONGEST_MS, 1_000, worst=True)) == "<= 1,000 (worst)"
