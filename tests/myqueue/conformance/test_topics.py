from __future__ import annotations

import pytest

from myqueue import Client, InvalidRequest, TopicAlreadyExists, TopicDoesNotExist
from tests.myqueue.conformance.styles import Style


def test_topics_are_made_listed_described_and_deleted(client: Client) -> None:
    client.create_topic("a.b-c_1", 3)
    assert "a.b-c_1" in client.list_topics()
    described = client.describe_topic("a.b-c_1")
    assert [row["partition"] for row in described["partitions"]] == [0, 1, 2]
    assert all(row["leader"]["address"] for row in described["partitions"])
    with pytest.raises(TopicAlreadyExists):
        client.create_topic("a.b-c_1")
    client.delete_topic("a.b-c_1")
    assert "a.b-c_1" not in client.list_topics()
    with pytest.raises(TopicDoesNotExist):
        client.describe_topic("a.b-c_1")


def test_a_wrong_name_is_refused(client: Client) -> None:
    for name in ("", "a b", "..", "é", "x" * 250):
        with pytest.raises(InvalidRequest):
            client.create_topic(name)


def test_a_topic_has_partitions(client: Client) -> None:
    with pytest.raises(InvalidRequest):
        client.create_topic("none", 0)


async def test_a_producer_makes_its_topic_and_a_consumer_does_not(style: Style) -> None:
    with pytest.raises(TopicDoesNotExist):
        await style.consumer("made-by-a-producer")
    async with await style.producer("made-by-a-producer") as producer:
        assert await producer.partition_count("made-by-a-producer") >= 1
        await producer.enqueue("made-by-a-producer", "x")
    async with await style.consumer("made-by-a-producer") as consumer:
        assert await consumer.dequeue("made-by-a-producer") == "x"
    with Client(style.address) as client:
        client.delete_topic("made-by-a-producer")
