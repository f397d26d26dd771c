from __future__ import annotations

from collections import Counter

import pytest
from django.utils import timezone

from manager_app.clients.registry import KnownClient
from manager_app.metadata import PartitionMetadata, StoredSettings, TopicMetadata
from manager_app.proxy.produce import choose_partition
from manager_app.selectors import ClientKey
from myqueue.contract.errors import PartitionNotFound
from myqueue.contract.inputs import Produce
from myqueue.contract.partitioner import RoundRobin, partition_for_key

TOPIC = TopicMetadata(
    "logs",
    3,
    tuple(PartitionMetadata(n + 1, n, "logs", (1,)) for n in range(5)),
    StoredSettings(3, None, None, timezone.now()),
)
"""It had 3 partitions when it was created and has 5 now."""


@pytest.fixture
def client():
    return KnownClient(
        ClientKey("producer", 7), "logs", RoundRobin(7), looked_up_s=0.0, epoch=1, used_s=0.0
    )


def choose(client, **fields):
    call = Produce(topic="logs", producer_id=7, message="x", **fields)
    return choose_partition(TOPIC, client, call).index


def test_without_anything_the_partitions_take_turns(client):
    assert Counter(choose(client) for _ in range(100)) == dict.fromkeys(range(5), 20)


def test_each_choice_goes_before_those_after_it(client):
    everything = {"partition": 4, "key": "k", "request_id": "r"}
    assert choose(client, **everything) == 4
    del everything["partition"]
    assert choose(client, **everything) == partition_for_key("k", 5)
    assert choose(client, **everything, partition_key=7) == 2
    del everything["key"]
    assert choose(client, **everything) == partition_for_key("r", 3)


def test_a_request_id_stays_in_the_partitions_of_the_creation(client):
    assert {choose(client, request_id=str(number)) for number in range(100)} == {0, 1, 2}


def test_a_choice_by_key_leaves_the_turns_alone(client):
    first = choose(client)
    choose(client, key="k")
    choose(client, partition=0)
    assert choose(client) == (first + 1) % 5


@pytest.mark.parametrize("partition", [-1, 5])
def test_a_partition_out_of_range_is_refused(client, partition):
    with pytest.raises(PartitionNotFound):
        choose(client, partition=partition)
