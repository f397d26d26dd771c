from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from myqueue import (
    ClientClosed,
    ClientConfig,
    InvalidRequest,
    MessageTooLarge,
    PartitionNotFound,
    Record,
    UnauthorizedException,
)
from myqueue.contract.partitioner import partition_for_key
from tests.myqueue.conformance.styles import Style

MakeTopic = Callable[..., str]


async def stored(style: Style, topic: str, partition: int = 0) -> list[str | bytes]:
    async with await style.consumer(topic) as consumer:
        fetched = await consumer.fetch(topic, partition, 0, max_bytes=8 << 20)
        return [message.value for message in fetched.messages]


async def test_offsets_count_from_zero(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    async with await style.producer(topic) as producer:
        for number in range(5):
            assert await producer.enqueue(topic, f"{number}") == (0, number)
    assert await stored(style, topic) == ["0", "1", "2", "3", "4"]


VALUES = ["", "\0", "'\"\\", "\N{PILE OF POO} \u05d0", b"", b"\xff\x00", "a\r\nb"]


async def test_a_message_comes_back_as_it_was_given(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    headers: dict[str, str | bytes] = {"h": "text", "b": b"\x01", "": ""}
    async with await style.producer(topic) as producer:
        for value in VALUES:
            await producer.enqueue(topic, value, key=b"\xfe", headers=headers)
        await producer.enqueue(topic, "plain")
    async with await style.consumer(topic) as consumer:
        *given, plain = await consumer.poll(10, 5.0)
    assert [one.value for one in given] == VALUES
    assert [type(one.value) for one in given] == [type(value) for value in VALUES]
    assert all((one.key, one.headers) == (b"\xfe", headers) for one in given)
    assert (plain.value, plain.key, plain.headers) == ("plain", None, None)
    assert {one.topic for one in given} == {topic}
    timestamps = [one.timestamp for one in (*given, plain)]
    assert timestamps[0] > 1_600_000_000_000
    assert timestamps == sorted(timestamps)


async def test_keyless_messages_are_dealt_out_evenly(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(4)
    async with await style.producer(topic) as producer:
        places = [await producer.enqueue(topic, f"{number}") for number in range(100)]
    assert Counter(place.partition for place in places) == {0: 25, 1: 25, 2: 25, 3: 25}


async def test_keys_and_partitions_pick_the_partition(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(4)
    async with await style.producer(topic) as producer:
        assert (await producer.enqueue(topic, "x", 7)).partition == 3
        expected = partition_for_key("user-17", 4)
        assert (await producer.enqueue(topic, "x", "user-17")).partition == expected
        assert (await producer.enqueue(topic, "x", key="user-17")).partition == expected
        assert (await producer.enqueue(topic, "x", partition=2)).partition == 2
        for wrong in (4, -1):
            with pytest.raises(PartitionNotFound):
                await producer.enqueue(topic, "x", partition=wrong)
        with pytest.raises(InvalidRequest):
            await producer.enqueue(topic, "x", 1, partition=1)


async def test_several_topics_each_get_the_message(style: Style, make_topic: MakeTopic) -> None:
    topics = [make_topic(), make_topic()]
    async with await style.producer(topics) as producer:
        assert producer.topics == tuple(topics)
        assert await producer.enqueue(topics, "x") == [(0, 0), (0, 0)]
    assert [await stored(style, topic) for topic in topics] == [["x"], ["x"]]


async def test_a_topic_without_registration_is_refused(style: Style, make_topic: MakeTopic) -> None:
    topic, other = make_topic(), make_topic()
    async with await style.producer(topic) as producer:
        with pytest.raises(UnauthorizedException):
            await producer.enqueue(other, "x")
        await producer.register(other)
        assert await producer.enqueue(other, "x") == (0, 0)


async def test_limits_are_checked_before_sending(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    async with await style.producer(topic) as producer:
        with pytest.raises(MessageTooLarge):
            await producer.enqueue(topic, "x" * ((1 << 20) + 1))
        with pytest.raises(MessageTooLarge):
            await producer.produce_many(topic, ["x", "x" * ((1 << 20) + 1)])
        for wrong in ([5], ["\ud800"], "text", b"bytes", Record("x"), {"x": 1}, 5, None):
            with pytest.raises(InvalidRequest):
                await producer.produce_many(topic, wrong)
        assert await producer.enqueue(topic, "x" * (1 << 20)) == (0, 0)


async def test_many_messages_are_one_batch_per_partition(
    style: Style, make_topic: MakeTopic
) -> None:
    topic = make_topic(3)
    async with await style.producer(topic) as producer:
        batches = await producer.produce_many(topic, [f"{n}" for n in range(10)])
        assert [batch[:2] for batch in batches] == [(0, 0), (1, 0), (2, 0)]
        assert [batch.message_count for batch in batches] == [4, 3, 3]
        records = [Record(f"{n}", key="same") for n in range(10)]
        (batch,) = await producer.produce_many(topic, records)
        assert list(batch.offsets) == list(range(batch.base_offset, batch.base_offset + 10))
    assert (await stored(style, topic))[:4] == ["0", "3", "6", "9"]


@pytest.mark.parametrize("kind", [list, iter])
async def test_any_number_of_messages_is_as_many_batches_as_it_takes(
    style: Style, make_topic: MakeTopic, kind: Callable[..., Any]
) -> None:
    topic = make_topic()
    async with await style.producer(topic) as producer:
        assert await producer.produce_many(topic, kind(())) == []
        values = [f"{number}" for number in range(10_001)]
        batches = await producer.produce_many(topic, kind(values))
        assert [tuple(batch) for batch in batches] == [(0, 0, 10_000), (0, 10_000, 1)]
        large = [bytes([number]) * 1_000_000 for number in range(9)]
        batches = await producer.produce_many(topic, kind(large))
        assert [tuple(batch) for batch in batches] == [(0, 10_001, 8), (0, 10_009, 1)]
    async with await style.consumer(topic) as consumer:
        found: list[Any] = []
        while len(found) < 10_010:
            found += [message.value for message in await consumer.poll(5_000, 5.0)]
    assert found == [*values, *large]


async def test_messages_over_several_partitions_stay_in_order(
    style: Style, make_topic: MakeTopic
) -> None:
    topic = make_topic(2)
    records = (Record(f"{number}", key=f"{number % 7}") for number in range(18_000))
    async with await style.producer(topic) as producer:
        batches = await producer.produce_many(topic, records)
    assert sum(batch.message_count for batch in batches) == 18_000
    assert len(batches) == 3, "one partition has more than one batch"
    assert [batch.partition for batch in batches] == sorted(batch.partition for batch in batches)
    for partition in range(2):
        mine = [batch for batch in batches if batch.partition == partition]
        ends = [batch.base_offset + batch.message_count for batch in mine]
        assert [batch.base_offset for batch in mine] == [0, *ends[:-1]]
        async with await style.consumer(topic) as consumer:
            found: list[int] = []
            while len(found) < ends[-1]:
                got = await consumer.poll(5_000, 5.0, partition=partition)
                found += [int(message.value) for message in got]
        assert found == sorted(found)


async def test_bytes_of_every_kind_are_messages(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    data = bytearray(b"abcd")
    async with await style.producer(topic) as producer:
        await producer.enqueue(topic, data, key=memoryview(data)[:1], headers={"h": data})
        await producer.produce_many(topic, [memoryview(data)[::2], data])
        data[0] = 0
        for wrong in ({"a": 1}, ["a"], 5, None):
            with pytest.raises(InvalidRequest, match=r"turn it into one yourself, as json\.dumps"):
                await producer.enqueue(topic, wrong)
    async with await style.consumer(topic) as consumer:
        found = await consumer.poll(10, 5.0)
    assert [message.value for message in found] == [b"abcd", b"ac", b"abcd"]
    assert (found[0].key, found[0].headers) == (b"a", {"h": b"abcd"})


async def test_sent_messages_arrive_in_order(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(2)
    async with await style.producer(topic, config=ClientConfig(batch_messages=10)) as producer:
        futures = [
            await producer.send(topic, f"{number}", partition=number % 2) for number in range(200)
        ]
        assert await producer.flush(30)
        assert [(await future).offset for future in futures] == [n // 2 for n in range(200)]
    assert await stored(style, topic, 1) == [f"{n}" for n in range(1, 200, 2)]


async def test_calls_at_once_all_arrive(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    async with await style.producer(topic) as producer:
        places = await asyncio.gather(
            *(producer.enqueue(topic, f"{number}") for number in range(60))
        )
    values = await stored(style, topic)
    assert sorted(place.offset for place in places) == list(range(60))
    assert all(values[place.offset] == f"{number}" for number, place in enumerate(places))


async def test_compressed_messages_come_back(style: Style, make_topic: MakeTopic) -> None:
    pytest.importorskip("zstandard")
    topic = make_topic()
    values = [f"{number} {'x' * 100}" for number in range(50)]
    async with await style.producer(topic, config=ClientConfig(compression="zstd")) as producer:
        await producer.produce_many(topic, values, partition=0)
        await producer.enqueue(topic, "short")
    assert await stored(style, topic) == [*values, "short"]
    async with await style.consumer(topic) as consumer:
        assert [one.value for one in await consumer.poll(100, 5.0)] == [*values, "short"]


async def test_closing_delivers_what_was_sent(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    producer = await style.producer(topic)
    for number in range(20):
        await producer.send(topic, f"{number}")
    await producer.close()
    await producer.close()
    with pytest.raises(ClientClosed):
        await producer.enqueue(topic, "x")
    assert len(await stored(style, topic)) == 20


async def test_a_forgotten_producer_is_unknown(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    producer = await style.producer(topic)
    await producer.enqueue(topic, "x")
    assert (await producer.reattach(topic)).client_id == producer.registrations[topic].client_id
    await producer.forget()
    with pytest.raises(ClientClosed):
        await producer.send(topic, "x")


async def test_forgetting_delivers_what_was_sent(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    config = ClientConfig(batch_messages=100, delivery_timeout_ms=20_000)
    producer = await style.producer(topic, config=config)
    futures = [await producer.send(topic, f"{number}") for number in range(300)]
    await producer.forget()
    assert [(await future).offset for future in futures] == list(range(300))
    assert await stored(style, topic) == [f"{number}" for number in range(300)]
    with pytest.raises(ClientClosed):
        await producer.forget()
