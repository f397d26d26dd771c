from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from myqueue import (
    Client,
    ClientClosed,
    ClientConfig,
    OffsetOutOfRange,
    PartitionNotFound,
    QueueEmpty,
    UnauthorizedException,
)
from myqueue.contract.http1 import Request
from myqueue.contract.inputs import JSON, MSGPACK
from myqueue.results import Message, Registration
from myqueue.transport.driving import drive
from tests.myqueue.conformance.styles import Style, later

MakeTopic = Callable[..., str]
FOUR = ClientConfig(prefetch_messages=4)


async def fill(style: Style, topic: str, *counts: int) -> None:
    async with await style.producer(topic) as producer:
        for partition, count in enumerate(counts):
            if count:
                values = [f"{partition}:{number}" for number in range(count)]
                await producer.produce_many(topic, values, partition=partition)


async def test_every_message_is_read_once(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(3)
    await fill(style, topic, 3, 0, 2)
    async with await style.consumer(topic) as consumer:
        assert await consumer.get_size(topic) == 5
        assert await consumer.can_dequeue([topic]) == [True]
        found = [await consumer.dequeue(topic) for _ in range(5)]
        assert sorted(found) == ["0:0", "0:1", "0:2", "2:0", "2:1"]
        with pytest.raises(QueueEmpty, match="QEmpty"):
            await consumer.dequeue(topic)
        assert not await consumer.can_dequeue(topic)


async def test_a_list_of_topics_gives_a_list(style: Style, make_topic: MakeTopic) -> None:
    full, empty = make_topic(), make_topic()
    await fill(style, full, 2)
    async with await style.consumer([full, empty]) as consumer:
        assert await consumer.get_size([full, empty]) == [2, 0]
        with pytest.raises(QueueEmpty):
            await consumer.dequeue([full, empty])
        assert await consumer.get_size(full) == 2
        await fill(style, empty, 1)
        assert await consumer.dequeue([full, empty]) == ["0:0", "0:0"]


async def test_a_key_reads_its_partition_alone(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(2)
    await fill(style, topic, 1, 1)
    async with await style.consumer(topic) as consumer:
        assert await consumer.dequeue(topic, 3) == "1:0"
        with pytest.raises(QueueEmpty):
            await consumer.dequeue(topic, 3)
        assert await consumer.dequeue(topic, 0) == "0:0"
        with pytest.raises(PartitionNotFound):
            await consumer.poll(partition=2)
        with pytest.raises(UnauthorizedException):
            await consumer.dequeue("other")


async def test_two_consumers_are_independent(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    await fill(style, topic, 3)
    async with await style.consumer(topic) as one, await style.consumer(topic) as other:
        assert [message.text for message in await one.poll()] == ["0:0", "0:1", "0:2"]
        assert [message.text for message in await other.poll(2)] == ["0:0", "0:1"]
        assert await other.get_size(topic) == 1


async def test_latest_skips_what_is_stored(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(2)
    await fill(style, topic, 2, 2)
    async with await style.consumer(topic, start="latest") as consumer:
        assert await consumer.poll() == []
        await fill(style, topic, 0, 1)
        assert [message.offset for message in await consumer.poll(10, 5.0)] == [2]


@pytest.mark.parametrize("partitions", [1, 3])
async def test_a_message_ends_the_wait(
    style: Style, make_topic: MakeTopic, partitions: int
) -> None:
    topic = make_topic(partitions)
    async with (
        await style.consumer(topic) as consumer,
        await style.producer(topic) as producer,
    ):
        started = time.monotonic()
        assert await consumer.poll(timeout=0.05) == []
        sent = later(0.1, lambda: producer.enqueue(topic, "late", partition=partitions - 1))
        assert [message.text for message in await consumer.poll(timeout=30.0)] == ["late"]
        assert time.monotonic() - started < 20
        await sent()


async def test_iteration_goes_on_where_it_was_broken_off(
    style: Style, make_topic: MakeTopic
) -> None:
    topic = make_topic(2)
    await fill(style, topic, 30, 30)
    found = []
    async with await style.consumer(topic, config=FOUR) as consumer:
        for stop in (1, 7, 40):
            async for message in consumer:
                found.append(message)
                if len(found) >= stop:
                    break
        found += await consumer.poll(3)
        while messages := await consumer.poll(50):
            found += messages
    for partition in range(2):
        offsets = [message.offset for message in found if message.partition == partition]
        assert offsets == list(range(30))


async def test_what_was_taken_in_advance_is_given_back(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(2)
    await fill(style, topic, 25, 25)
    found: list[tuple[int, int]] = []
    registrations = None
    while len(found) < 50:
        consumer = await style.consumer(topic, config=FOUR, attach=registrations)
        async for message in consumer:
            found.append((message.partition, message.offset))
            if len(found) % 7 == 0 or len(found) == 50:
                await consumer.close()
        registrations = consumer.registrations
    assert sorted(found) == [(p, n) for p in range(2) for n in range(25)]


async def test_iteration_ends_when_the_consumer_is_closed(
    style: Style, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    await fill(style, topic, 1)
    consumer = await style.consumer(topic, config=ClientConfig(long_poll_ms=300))
    loop, found, read = asyncio.get_running_loop(), [], asyncio.Event()

    def hand(message: Message) -> None:
        found.append(message.text)
        loop.call_soon_threadsafe(read.set)

    async def close_while_it_waits() -> None:
        await read.wait()
        await asyncio.sleep(0.4)
        await consumer.close()

    closed = later(0, close_while_it_waits)
    try:
        if style.is_async:
            async for message in consumer:
                hand(message)
        else:
            await asyncio.to_thread(lambda: [hand(message) for message in consumer.client])
    finally:
        await consumer.close()  # A thread that reads on would keep the loop from closing.
    await closed()
    assert found == ["0:0"]
    with pytest.raises(ClientClosed):
        await consumer.poll()


async def test_fetch_reads_anywhere_and_moves_nothing(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    await fill(style, topic, 5)
    await fill(style, topic, 2)
    async with await style.consumer(topic) as consumer:
        fetched = await consumer.fetch(topic, 0, 3)
        assert [(one.offset, one.text) for one in fetched.messages][:2] == [(3, "0:3"), (4, "0:4")]
        assert fetched.next_offset in (5, 7)
        assert fetched.high_watermark == 7
        assert (await consumer.fetch(topic, 0, 0, max_bytes=1)).next_offset == 5
        assert (await consumer.fetch(topic, 0, 7)).messages == []
        with pytest.raises(OffsetOutOfRange) as caught:
            await consumer.fetch(topic, 0, 8)
        assert caught.value.details["high_watermark"] == 7
        assert await consumer.get_size(topic) == 7


async def test_fetch_waits_for_a_message(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    async with (
        await style.consumer(topic) as consumer,
        await style.producer(topic) as producer,
    ):
        sent = later(0.1, lambda: producer.enqueue(topic, "late"))
        fetched = await consumer.fetch(topic, 0, 0, wait_ms=20_000)
        assert [message.text for message in fetched.messages] == ["late"]
        await sent()


async def test_seek_moves_the_cursor(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    await fill(style, topic, 6)
    async with await style.consumer(topic, config=FOUR) as consumer:
        async for message in consumer:
            assert message.offset == 0
            break
        assert await consumer.seek(topic, 0, 4) == 4
        assert [message.offset for message in await consumer.poll()] == [4, 5]
        assert await consumer.seek(topic, 0, 1) == 1
        assert [message.offset for message in await consumer.poll(2)] == [1, 2]
        with pytest.raises(OffsetOutOfRange):
            await consumer.seek(topic, 0, 7)


async def test_seek_to_time_finds_where_it_was(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(2)
    await fill(style, topic, 2, 1)
    await asyncio.sleep(0.05)
    between = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await fill(style, topic, 0, 3)
    async with await style.consumer(topic) as consumer:
        assert await consumer.seek_to_time(topic, between) == {0: 2, 1: 1}
        assert [message.offset for message in await consumer.poll()] == [1, 2, 3]
        early = between - timedelta(hours=1)
        assert await consumer.seek_to_time(topic, early, partition=0) == {0: 0}
        assert len(await consumer.poll()) == 2


async def test_lag_is_told_in_messages_and_seconds(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(2)
    await fill(style, topic, 3, 0)
    await asyncio.sleep(0.1)
    async with await style.consumer(topic) as consumer:
        first, second = await consumer.lag()
        assert first[:3] == (topic, 0, 3)
        assert 0.09 < first.seconds < 60
        assert second == (topic, 1, 0, 0.0)
        await consumer.poll(2)
        assert (await consumer.lag(topic))[0].messages == 1
        await consumer.poll(2)
        assert (await consumer.lag(topic))[0] == (topic, 0, 0, 0.0)


async def test_a_forgotten_consumer_cannot_be_attached(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    consumer = await style.consumer(topic)
    registrations = consumer.registrations
    await consumer.forget()
    with pytest.raises(UnauthorizedException):
        await style.consumer(topic, attach=registrations)


def plain(client: Client, registration: Registration, **fields: Any) -> Any:
    """Call /consumer/consume at a manager, as a program without the library does."""
    body = msgspec.json.encode({"consumer_id": registration.client_id, **fields})
    request = Request(
        "POST",
        "/consumer/consume",
        body=body,
        content_type=JSON,
        accept=MSGPACK,
        token=registration.token,
    )
    answer = drive(client._managers.call_patiently(request), client._transport, client._clock)
    return {
        name: answer[name]
        for name in ("message", "partition", "offset", "messages")
        if name in answer
    }


async def test_a_pop_by_request_id_without_a_partition_is_repeated(
    style: Style, client: Client, make_topic: MakeTopic
) -> None:
    topic = make_topic(4)
    await fill(style, topic, 2, 0, 3, 1)
    async with await style.consumer(topic) as consumer:
        mine = consumer.registrations[topic]

        def pop(number: int, **fields: Any) -> Any:
            return plain(client, mine, topic=topic, request_id=f"r{number}", **fields)

        first = [pop(number) for number in range(6)]
        assert sorted(one["message"] for one in first) == ["0:0", "0:1", "2:0", "2:1", "2:2", "3:0"]
        assert [pop(number) for number in (0, 5, 3, 1, 4, 2)] == [
            first[number] for number in (0, 5, 3, 1, 4, 2)
        ]
        with pytest.raises(QueueEmpty):
            pop(6)
        assert pop(7, max_messages=5)["messages"] == []
        await fill(style, topic, 0, 2)
        assert pop(6)["message"] == "1:0"
        assert [one["message"] for one in pop(7, max_messages=5)["messages"]] == ["1:1"]
        assert pop(6)["message"] == "1:0"
        assert pop(8, max_messages=5, wait_ms=20)["messages"] == []


async def test_a_pop_without_a_partition_takes_them_in_turn(
    style: Style, client: Client, make_topic: MakeTopic
) -> None:
    topic = make_topic(3)
    await fill(style, topic, 2, 2, 2)
    async with await style.consumer(topic) as consumer:
        mine = consumer.registrations[topic]
        used = [plain(client, mine, topic=topic)["partition"] for _ in range(6)]
        assert sorted(used[:3]) == [0, 1, 2]
        assert used == used[:3] * 2
        with pytest.raises(QueueEmpty):
            plain(client, mine, topic=topic)
