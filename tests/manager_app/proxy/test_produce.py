from __future__ import annotations

from collections import Counter

import pytest

from manager_app.clients.registry import Session
from manager_app.metadata import PartitionView, TopicView
from manager_app.proxy.produce import choose_partition
from manager_app.selectors import ClientKey
from myqueue.contract.errors import PartitionNotFound
from myqueue.contract.inputs import Produce
from myqueue.contract.partitioner import RoundRobin, partition_for_key

TOPIC = TopicView("logs", 3, tuple(PartitionView(n + 1, n, "logs", (1,)) for n in range(5)))
"""It had 3 partitions when it was created and has 5 now."""


@pytest.fixture
def session():
    return Session(ClientKey("producer", 7), "logs", RoundRobin(7), 0.0, 0.0)


def choose(session, **fields):
    call = Produce(topic="logs", producer_id=7, message="x", **fields)
    return choose_partition(TOPIC, session, call).index


def test_without_anything_the_partitions_take_turns(session):
    assert Counter(choose(session) for _ in range(100)) == dict.fromkeys(range(5), 20)


def test_each_choice_goes_before_those_after_it(session):
    everything = {"partition": 4, "key": "k", "request_id": "r"}
    assert choose(session, **everything) == 4
    del everything["partition"]
    assert choose(session, **everything) == partition_for_key("k", 5)
    assert choose(session, **everything, partition_key=7) == 2
    del everything["key"]
    assert choose(session, **everything) == partition_for_key("r", 3)


def test_a_request_id_stays_in_the_partitions_of_the_creation(session):
    assert {choose(session, request_id=str(number)) for number in range(100)} == {0, 1, 2}


def test_a_choice_by_key_leaves_the_turns_alone(session):
    first = choose(session)
    choose(session, key="k")
    choose(session, partition=0)
    assert choose(session) == (first + 1) % 5


@pytest.mark.parametrize("partition", [-1, 5])
def test_a_partition_out_of_range_is_refused(session, partition):
    with pytest.raises(PartitionNotFound):
        choose(session, partition=partition)
