from __future__ import annotations

import tracemalloc

import pytest

from manager_app.health.histories import (
    HOUR_MINUTES,
    HOUR_POINTS,
    MINUTE_S,
    SERIES_MAX,
    STEP_S,
    Histories,
    PartitionRates,
    Ring,
    thinned,
)


def test_a_ring_keeps_the_last_values_and_a_gap_where_there_was_none():
    ring = Ring(5.0, 8)
    for now_s, value in ((100.0, 1.0), (105.0, 2.0), (125.0, 4.0)):
        ring.put(value, now_s)
    assert ring.last(6, 130.0) == [1.0, 2.0, None, None, None, 4.0]
    assert ring.last(4, 145.0) == [4.0, None, None, None]
    assert ring.last(3, 1_000.0) == [None] * 3


def test_a_value_that_comes_late_stands_for_the_steps_before_it():
    ring = Ring(5.0, 8)
    ring.put(1.0, 100.0)
    ring.put(3.0, 115.0)
    assert ring.last(4, 120.0) == [1.0, 3.0, 3.0, 3.0]


def test_a_later_value_of_a_step_takes_its_place_and_unknown_is_a_gap():
    ring = Ring(5.0, 4)
    ring.put(1.0, 100.0)
    ring.put(3.0, 104.9)
    ring.put(None, 105.0)
    assert ring.last(2, 110.0) == [3.0, None]


def test_a_ring_starts_over_after_a_long_silence():
    ring = Ring(5.0, 4)
    ring.put(1.0, 0.0)
    ring.put(2.0, 1_000_000.0)
    assert ring.last(4, 1_000_005.0) == [None, None, None, 2.0]


def test_minutes_are_the_means_of_what_was_known_in_them():
    histories = Histories()
    for number in range(30):
        now_s = 600.0 + number * STEP_S
        histories.put({"figure": float(number < 12) if number != 3 else None}, now_s)
    assert histories.day("figure", 740.0, points=2) == [1.0, 0.0]
    assert histories.hour("figure", 660.0 + STEP_S, points=2) == [1.0, 0.0]


def test_the_latest_value_is_one_of_the_last_half_minute():
    histories = Histories()
    histories.put({"figure": 7.0}, 1_000.0)
    assert histories.latest("figure", 1_002.0) == 7.0
    assert histories.latest("figure", 1_100.0) is None
    assert histories.latest("other", 1_002.0) is None
    assert histories.hour("other", 1_002.0) == [None] * HOUR_POINTS


def test_no_more_figures_are_kept_than_may_be_and_those_of_the_gone_are_forgotten():
    histories = Histories(series_max=3)
    keys = [("group", name, "lag") for name in "abcd"]
    histories.put(dict.fromkeys(keys, 1.0), 1_000.0)
    assert histories.latest(keys[2], 1_000.0) == 1.0
    assert histories.latest(keys[3], 1_000.0) is None
    histories.forget_others("group", ["b"])
    histories.put(dict.fromkeys(keys, 2.0), 1_061.0)
    assert [histories.latest(key, 1_061.0) for key in keys] == [2.0, 2.0, 2.0, None]
    assert histories.day(keys[0], 1_070.0, points=1) == [None]


@pytest.mark.parametrize(
    ("values", "points", "found"),
    [([1, 3, 5, 7], 2, [2, 6]), ([None, None, 4, None], 2, [None, 4]), ([1.0], 4, [1.0])],
)
def test_values_are_thinned_to_means(values, points, found):
    assert thinned(values, points) == found


def test_a_thousand_topics_and_five_hundred_groups_fit_and_take_what_they_are_said_to():
    figures = {("topic", str(topic), name): 1.0 for topic in range(1_000) for name in "abcd"}
    figures |= {("group", str(group), name): 1.0 for group in range(500) for name in "ab"}
    histories = Histories()
    tracemalloc.start()
    try:
        histories.put(figures, 1_000.0)
        taken_mib = tracemalloc.get_traced_memory()[0] / (1 << 20)
    finally:
        tracemalloc.stop()
    assert all(histories.latest(name, 1_000.0) == 1.0 for name in figures)
    assert len(figures) < SERIES_MAX
    assert 40 < taken_mib < 50


def test_partitions_have_a_rate_for_each_minute_of_an_hour():
    rates = PartitionRates()
    assert rates.is_due(6000.0)
    rates.put({7: 1_000, 8: 5}, 6000.0)
    assert not rates.is_due(6059.0)
    assert rates.is_due(6060.0)
    assert rates.hour(7, 6000.0) == [None] * HOUR_MINUTES
    rates.put({7: 1_600, 8: 5, 9: 40}, 6060.0)
    assert rates.hour(7, 6061.0)[-2:] == [None, 10.0]
    assert rates.hour(8, 6061.0)[-1] == 0.0
    assert rates.hour(9, 6061.0)[-1] is None
    rates.put({7: 1_000, 9: 100}, 6120.0)  # counted anew after a loss that was accepted
    assert rates.hour(7, 6120.0)[-2:] == [10.0, 0.0]
    assert rates.hour(9, 6120.0)[-1] == 1.0
    assert rates.hour(8, 6120.0) == [None] * HOUR_MINUTES
    rates.put({7: 1_000}, 6120.0 + 2 * MINUTE_S)
    assert len(rates.hour(7, 6240.0)) == HOUR_MINUTES


def test_the_rates_of_ten_thousand_partitions_take_little():
    rates = PartitionRates()
    rates.put(dict.fromkeys(range(10_000), 0), 0.0)
    tracemalloc.start()
    try:
        rates.put(dict.fromkeys(range(10_000), 60), 60.0)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken / 10_000 < 900
