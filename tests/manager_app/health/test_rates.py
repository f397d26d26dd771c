from __future__ import annotations

import pytest

from http_base.cluster import BrokerStanding, TopicTraffic
from manager_app.health.rates import Flow, counts_between, flows_between, merged, quantile


def standing(uptime_s, **topics):
    return BrokerStanding(uptime_s=uptime_s, traffic=topics)


def test_counters_become_rates_by_topic():
    before = standing(10, logs=TopicTraffic(messages_produced=100, produced_bytes=1_000))
    after = standing(
        15,
        logs=TopicTraffic(
            messages_produced=150,
            produced_bytes=2_000,
            messages_popped=5,
            messages_fetched=10,
            messages_received=15,
            popped_bytes=50,
        ),
        fresh=TopicTraffic(messages_produced=5),
    )
    assert flows_between(before, after, 5.0) == {
        "logs": Flow(10.0, 6.0, 200.0, 10.0),
        "fresh": Flow(1.0, 0.0, 0.0, 0.0),
    }


def test_a_broker_that_started_anew_counts_from_its_start():
    before = standing(100, logs=TopicTraffic(messages_produced=1_000))
    after = standing(2, logs=TopicTraffic(messages_produced=10))
    assert flows_between(before, after, 5.0)["logs"].messages_in == 2.0


def test_a_topic_that_was_made_anew_does_not_count_backwards():
    before = standing(1, logs=TopicTraffic(messages_produced=1_000))
    assert flows_between(before, standing(6, logs=TopicTraffic()), 5.0)["logs"] == Flow()


def test_flows_are_added():
    assert Flow(1, 2, 3, 4) + Flow(1, 1, 1, 1) == Flow(2, 3, 4, 5)


def test_buckets_are_what_came_in_between():
    assert counts_between([1, 3, 4], [2, 6, 10]) == [1, 2, 3]
    assert counts_between([5, 9, 9], [1, 1, 2]) == [1, 0, 1]
    assert counts_between([], [1, 1, 2]) == [1, 0, 1]


@pytest.mark.parametrize(
    ("counts", "share", "found"),
    [
        ([0, 0, 0], 0.5, None),
        ([100, 0, 0], 0.5, 0.5),
        ([50, 50, 0], 0.99, 1.98),
        ([0, 0, 10], 0.5, 3.0),
    ],
)
def test_a_quantile_lies_inside_its_bucket(counts, share, found):
    assert quantile([1.0, 2.0], counts, share) == (None if found is None else pytest.approx(found))


def test_histograms_of_several_brokers_are_one_if_their_bounds_are_alike():
    both = {(1.0, 2.0): [[1, 2, 3], [1, 1, 1]], (5.0,): [[9, 9]]}
    assert merged(both) == ([1.0, 2.0], [2, 3, 4])
    assert merged({}) == ([], [])
    assert quantile([], [], 0.5) is None
