from __future__ import annotations

import pytest

from benchmarks.message import MESSAGE_BYTES, message
from benchmarks.peers.queuesite import Site


def test_a_message_has_its_length_and_its_own_content():
    made = {message(number, origin) for number in (0, 1, 10**9) for origin in (0, 9_999)}
    assert len(made) == 6
    assert {len(one) for one in made} == {MESSAGE_BYTES}


def test_topics_of_one_workload_are_different(site: Site):
    assert site.new_topic("sync_1") != site.new_topic("sync_1")


def test_what_is_stored_is_read_from_the_beginning_to_the_end(site: Site):
    topic = site.new_topic("sync_1")
    with site.producer(topic) as producer:
        producer.produce_many(topic, ["a", "b"], partition=0)
        producer.produce_many(topic, [b"c"], partition=0)
    assert list(site.stored(topic)) == [(0, "a"), (1, "b"), (2, b"c")]


def test_nothing_is_stored_in_a_new_topic(site: Site):
    assert list(site.stored(site.new_topic("sync_1"))) == []


def test_brokers_are_where_the_cluster_says(site: Site, twin):
    assert [place.address for place in site.brokers()] == twin.brokers


def test_waiting_returns_what_was_waited_for(site: Site):
    assert site.wait_for(lambda: "here", what="it") == "here"


def test_waiting_ends(site: Site, monkeypatch):
    monkeypatch.setattr("benchmarks.peers.queuesite.PATIENCE_S", 0.0)
    with pytest.raises(TimeoutError, match="not within 0 s: it"):
        site.wait_for(lambda: None, what="it")
