from __future__ import annotations

import json

import pytest

from myqueue import Client, Consumer, Producer, TopicDescription
from myqueue.contract.errors import InvalidRequest
from myqueue.descriptions import PartitionDescription
from myqueue.testing.queue import InMemoryQueue


def test_fields_are_attributes_and_keys() -> None:
    told = {
        "topic": "logs",
        "partitions": [{"partition": 0, "leader": {"address": "http://b:1"}, "replicas": []}],
        "of_a_later_version": 1,
    }
    described = TopicDescription.of(told)
    assert described.partitions[0].leader is not None
    assert described.partitions[0].leader.address == "http://b:1"
    assert described["partitions"][0]["leader"]["address"] == "http://b:1"
    assert described.number_of_partitions is None
    assert described["of_a_later_version"] == 1
    assert described == told
    assert json.loads(json.dumps(described)) == told
    assert isinstance(described.partitions[0], PartitionDescription)
    assert "number_of_partitions" in dir(described)
    assert repr(described).startswith("TopicDescription({'topic': 'logs'")
    with pytest.raises(AttributeError, match="TopicDescription has no field 'partition'"):
        _ = described.partition  # type: ignore[attr-defined]


def test_what_an_administrator_asks_for_is_described() -> None:
    with InMemoryQueue() as queue, Client(queue.address) as client:
        created = client.create_topic("logs", 2, retention=3600)
        assert (created.topic, created.number_of_partitions, created.leaders_pending) == (
            "logs",
            2,
            [],
        )
        assert client.update_topic("logs", number_of_partitions=3).number_of_partitions == 3
        assert client.update_topic("logs", retention=None, retention_bytes=5).topic == "logs"
        described = client.describe_topic("logs")
        assert [one.partition for one in described.partitions] == [0, 1, 2]
        assert {one.state for one in client.describe_brokers()} == {"alive"}
        assert client.add_broker("http://127.0.0.1:1").broker_id > 1
        with Producer("logs", queue.address) as producer:
            producer.enqueue("logs", "x")
            assert client.list_clients("producers", "logs")[0].producer_id is not None
        with pytest.raises(InvalidRequest, match="producers or consumers, not 'producer'"):
            client.list_clients("producer")  # type: ignore[arg-type]
        with Consumer("logs", queue.address, group="g") as consumer:
            consumer.poll(timeout=1)
            group = client.describe_group("g")
            assert group.members[0].topics == ["logs"]
            assert {one.member_id for one in group.partitions} == {group.members[0].member_id}
        reset = client.reset_group("g", "logs", to="latest")
        assert sum(one.after or 0 for one in reset.partitions) == 1
