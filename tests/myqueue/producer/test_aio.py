from __future__ import annotations

import asyncio
import random

import pytest

from myqueue import AsyncProducer, ClientConfig
from myqueue.contract.errors import (
    ClientClosed,
    DeliveryTimeout,
    ManagerNotFound,
)
from myqueue.testing.queue import InMemoryQueue
from tests.myqueue.http_twin import HttpCluster

QUICK = ClientConfig(retry_backoff_ms=1, retry_backoff_max_ms=5, avoid_ms=1)
HURRIED = ClientConfig(retry_backoff_ms=1, retry_backoff_max_ms=5, delivery_timeout_ms=200)


async def test_it_starts_with_the_first_call_or_by_itself() -> None:
    with InMemoryQueue() as queue:
        producer = AsyncProducer("logs", queue.address)
        assert (await producer.enqueue("logs", "x", partition=0)).offset == 0
        assert await producer.start() is producer
        await producer.close()
        with pytest.raises(ClientClosed):
            await producer.enqueue("logs", "x")


async def test_exactly_once_over_sockets_that_break(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 2)
    async with AsyncProducer("logs", http_cluster.address, config=QUICK) as producer:
        http_cluster.twin.chaos = random.Random(3)
        await asyncio.gather(
            *(producer.enqueue("logs", f"{n}", partition=n % 2) for n in range(60))
        )
        http_cluster.twin.chaos = None
    for index, partition in enumerate(http_cluster.twin.topics["logs"]):
        assert sorted(int(str(value)) for value in partition.values) == list(range(index, 60, 2))


async def test_a_cancelled_call_leaves_its_message_on_the_way(http_cluster: HttpCluster) -> None:
    partition = http_cluster.twin.create("logs", 1)[0]
    async with AsyncProducer("logs", http_cluster.address) as producer:
        await producer.enqueue("logs", "first")
        task = asyncio.create_task(producer.enqueue("logs", "second"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await producer.enqueue("logs", "third")
    assert partition.values == ["first", "second", "third"]


async def test_what_cannot_be_delivered_is_told(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    producer = await AsyncProducer("logs", http_cluster.address, config=HURRIED).start()
    await producer.enqueue("logs", "x")
    http_cluster.stop()
    future = await producer.send("logs", "y")
    with pytest.raises(DeliveryTimeout):
        await producer.produce_many("logs", ["z"])
    with pytest.raises(DeliveryTimeout):
        await future
    await producer.close()


async def test_a_producer_that_cannot_be_forgotten_stays_open() -> None:
    config = ClientConfig(manager_timeout_ms=20)
    with InMemoryQueue({"logs": 1}) as queue:
        producer = await AsyncProducer("logs", queue.address, config=config).start()
        await producer.enqueue("logs", "x")
        queue.close()
        with pytest.raises(ManagerNotFound):
            await producer.forget()
        assert not producer._core.session.closing
        await producer.close()
        assert producer._core.session.closed
