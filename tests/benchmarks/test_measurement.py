from __future__ import annotations

import pytest

from benchmarks.measurement import Figure, measure, percentile, summarize


def test_percentile_is_the_smallest_value_not_below_the_share():
    ordered = [float(number) for number in range(1, 101)]
    assert [percentile(ordered, share) for share in (1, 50, 99, 100)] == [1, 50, 99, 100]


def test_percentile_may_have_a_decimal():
    ordered = [float(number) for number in range(1, 1001)]
    assert [percentile(ordered, share) for share in (0.1, 99.8, 99.9)] == [1, 998, 999]


def test_percentile_of_few_values_is_one_of_them():
    assert [percentile([1.0, 2.0, 9.0], share) for share in (50, 99)] == [2.0, 9.0]


def test_percentile_of_nothing_is_zero():
    assert percentile([], 50) == 0


def test_a_measurement_turns_seconds_into_milliseconds():
    found = measure(messages=300, seconds=2.0, latencies_s=[0.003, 0.001, 0.002])
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS, Figure.LONGEST_MS)
    assert [found.value(figure) for figure in figures] == [150, 2.0, 3.0, 3.0]


def test_a_run_without_time_is_refused():
    with pytest.raises(AssertionError, match="takes time"):
        measure(messages=1, seconds=0.0, latencies_s=[])


def test_a_summary_has_median_least_and_greatest():
    assert summarize([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
