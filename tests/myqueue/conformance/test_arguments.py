"""What clients are made with and how messages are given, alike everywhere."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest

from myqueue import Client, TopicDescription
from myqueue.contract.errors import InvalidRequest, TopicDoesNotExist
from myqueue.contract.partitioner import partition_for_key
from tests.myqueue.conformance.styles import Style

MakeTopic = Callable[..., str]
LONGEST_S = 30.0
_numbers = itertools.count(1)


async def test_create_means_the_same_for_all(style: Style, client: Client) -> None:
    for make in (style.producer, style.consumer, style.worker):
        topic = f"made-{next(_numbers)}"
        with pytest.raises(TopicDoesNotExist):
            await make(topic, create=False)
        assert topic not in client.list_topics()
        async with await make(topic, create=True) as made:
            assert made.topics == (topic,)
        described = client.describe_topic(topic)
        assert isinstance(described, TopicDescription)
        assert [one.partition for one in described.partitions] == [0, 1, 2]
        client.delete_topic(topic)


async def test_a_key_is_stored_under_both_of_its_names(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(4)
    async with await style.producer(topic, serializer="json") as producer:
        places = [
            await producer.enqueue(topic, {"n": 0}, "user-17"),
            await producer.enqueue(topic, {"n": 1}, partition_key="user-17"),
            await (await producer.send(topic, {"n": 2}, "user-17")),
        ]
        batches = await producer.produce_many(topic, [{"n": 3}], "user-17")
        assert (await producer.enqueue(topic, {"n": 4}, 6)).partition == 2
        with pytest.raises(InvalidRequest):
            await producer.enqueue(topic, {"n": 5}, "user-17", partition_key="user-17")
    expected = partition_for_key("user-17", 4)
    assert {place.partition for place in (*places, *batches)} == {expected}
    async with await style.consumer(topic) as consumer:
        found = await consumer.poll(partition=expected)
        [unkeyed] = await consumer.poll(partition=2)
    assert [(one.key, one.json()["n"]) for one in found] == [("user-17", n) for n in range(4)]
    assert (unkeyed.key, unkeyed.json()) == (None, {"n": 4})


async def test_a_handler_acknowledges_and_gives_back(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    async with await style.producer(topic) as producer:
        await producer.produce_many(topic, ["good", "bad"])
    tries: list[tuple[str, int]] = []
    async with await style.worker(topic, visibility=20) as worker:

        def take(delivery: object) -> None:
            tries.append((delivery.text, delivery.delivery_count))  # type: ignore[attr-defined]
            if tries[-1] == ("bad", 1):
                raise ValueError("not yet")
            if len(tries) == 3:
                (worker if style.is_async else worker.client).finish()

        async def take_in_a_loop(delivery: object) -> None:
            take(delivery)

        if style.is_async:
            worker.handler(take_in_a_loop, retry_delay=0.01)
        else:
            await worker.handler(take, retry_delay=0.01)
        await asyncio.wait_for(worker.run(), LONGEST_S)
        assert await worker.receive() == []
    assert sorted(tries) == [("bad", 1), ("bad", 2), ("good", 1)]
