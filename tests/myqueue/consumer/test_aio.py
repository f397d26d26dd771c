from __future__ import annotations

import asyncio
import random

import pytest

from myqueue import AsyncConsumer, ClientConfig
from myqueue.contract.errors import QueueError, TopicDoesNotExist, UnreadMessages
from myqueue.testing.queue import InMemoryQueue
from tests.myqueue.http_twin import HttpCluster

QUICK = ClientConfig(retry_backoff_ms=1, retry_backoff_max_ms=5, avoid_ms=1, prefetch_messages=4)


async def test_exactly_once_over_sockets_that_break(http_cluster: HttpCluster) -> None:
    for partition in http_cluster.twin.create("logs", 3):
        partition.put(*(f"{number}" for number in range(20)))
    found: list[tuple[int, int]] = []
    async with AsyncConsumer("logs", http_cluster.address, config=QUICK) as consumer:
        await consumer.get_size("logs")
        http_cluster.twin.chaos = random.Random(5)
        async for message in consumer:
            found.append((message.partition, message.offset))
            if len(found) == 50:
                break
        http_cluster.twin.chaos = None
    async with AsyncConsumer(
        "logs", http_cluster.address, attach=consumer.registrations
    ) as consumer:
        while messages := await consumer.poll():
            found += [(message.partition, message.offset) for message in messages]
    assert sorted(found) == [(p, n) for p in range(3) for n in range(20)]


async def test_a_cancelled_call_loses_nothing(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)[0].put("0", "1", "2")
    async with AsyncConsumer("logs", http_cluster.address) as consumer:
        await consumer.get_size("logs")
        for delay_s in (0.0, 0.001, 0.005):
            task = asyncio.create_task(consumer.poll(1))
            await asyncio.sleep(delay_s)
            task.cancel()
            try:
                (message,) = await task
            except asyncio.CancelledError:
                continue
            await consumer.seek("logs", 0, message.offset)
        assert [message.text for message in await consumer.poll()] in (["0"], ["0", "1", "2"])
        assert await consumer.get_size("logs") in (0, 2)


async def test_an_unknown_topic_is_refused_and_may_come_later() -> None:
    with InMemoryQueue() as queue:
        consumer = AsyncConsumer("logs", queue.address)
        with pytest.raises(TopicDoesNotExist):
            await consumer.start()
        queue.create_topic("logs")
        assert await consumer.poll() == []
        assert consumer.topics == ("logs",)
        await consumer.close()
        await consumer.stop()


async def test_heartbeats_are_sent() -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        config = ClientConfig(heartbeat_interval_ms=5)
        async with AsyncConsumer("logs", queue.address, config=config) as consumer:
            queue._api.state.expired.add(1)
            while queue._api.state.expired:
                await asyncio.sleep(0.005)
            assert (await consumer.registration("logs")).client_id == 1


@pytest.mark.parametrize("odd", ['{"status": "success"}', '{"status": "success", "x": [1]}'])
async def test_an_odd_answer_does_not_end_the_heartbeats_of_a_group(
    http_cluster: HttpCluster, odd: str
) -> None:
    twin = http_cluster.twin
    twin.create("logs", 2)

    async def heartbeat() -> None:
        before = len(twin.asked("/groups/g/heartbeat"))
        async with asyncio.timeout(10):
            while len(twin.asked("/groups/g/heartbeat")) == before:
                await asyncio.sleep(0.01)

    options = {"group": "g", "session_timeout_ms": 2_000}
    async with AsyncConsumer("logs", http_cluster.address, **options) as consumer:
        twin.odd["/groups/g/heartbeat"] = odd
        await heartbeat()
        twin.odd.clear()
        await heartbeat()
        await heartbeat()
        assert consumer.assignment() == {"logs": [0, 1]}


async def test_what_cannot_be_given_back_is_told_or_noted() -> None:
    config = ClientConfig(prefetch_messages=2, close_timeout_ms=50, delivery_timeout_ms=50)
    for inside in (False, True):
        queue = InMemoryQueue({"logs": 1})
        queue._api.state.topics["logs"][0].put("0", "1", "2", "3", "4")

        async def read(queue: InMemoryQueue = queue, inside: bool = inside) -> None:
            async with AsyncConsumer("logs", queue.address, config=config) as consumer:
                async for message in consumer:
                    assert message.text == "0"
                    break
                queue.close()
                if inside:
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError if inside else UnreadMessages) as caught:
            await read()
        if inside:
            assert "not given back" in caught.value.__notes__[0]
        else:
            assert isinstance(caught.value, QueueError)
            assert [one.text for one in caught.value.details["messages"]] == ["1", "2", "3"]
