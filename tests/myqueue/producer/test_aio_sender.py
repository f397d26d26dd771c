from __future__ import annotations

import asyncio

import pytest

from myqueue import AsyncProducer, ClientConfig
from myqueue.contract.errors import (
    BufferFull,
    ClientClosed,
    UndeliveredMessages,
)
from myqueue.testing.queue import InMemoryQueue
from tests.myqueue.http_twin import HttpCluster

QUICK = ClientConfig(retry_backoff_ms=1, retry_backoff_max_ms=5, avoid_ms=1)
HURRIED = ClientConfig(retry_backoff_ms=1, retry_backoff_max_ms=5, delivery_timeout_ms=200)


async def test_a_full_buffer_waits_and_then_refuses(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    config = ClientConfig(buffer_bytes=200, max_block_ms=50)
    async with AsyncProducer("logs", http_cluster.address, config=config) as producer:
        await producer.partition_count("logs")
        with http_cluster.changed:  # nobody answers
            for _ in range(3):
                await producer.send("logs", "x")
            with pytest.raises(BufferFull):
                await producer.send("logs", "x")
            with pytest.raises(BufferFull):
                await producer.produce_many("logs", ["x"])
        assert await producer.flush(10)
        await producer.send("logs", "x")


async def test_a_buffer_full_of_headers_waits_and_then_refuses(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    config = ClientConfig(buffer_bytes=400, max_block_ms=50)
    async with AsyncProducer("logs", http_cluster.address, config=config) as producer:
        await producer.partition_count("logs")
        with http_cluster.changed:  # nobody answers
            await producer.send("logs", "x", headers={"a": "漢" * 60})
            with pytest.raises(BufferFull):
                await producer.send("logs", "x", headers={"a": "漢" * 60})


async def test_when_closing_is_cancelled_everybody_is_told(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    producer = await AsyncProducer("logs", http_cluster.address).start()
    await producer.enqueue("logs", "x")
    with http_cluster.changed:  # nobody answers
        out = asyncio.create_task(producer.enqueue("logs", "out"))
        await asyncio.sleep(0.01)
        left = asyncio.create_task(producer.enqueue("logs", "left"))
        flushed = asyncio.create_task(producer.flush())
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(producer.close())
        await asyncio.sleep(0.01)
        closing.cancel()
        calls = {out, left, flushed, closing}
        done, _ = await asyncio.wait(calls, timeout=10)
    assert done == calls
    assert closing.cancelled()
    assert isinstance(out.exception(), ClientClosed)
    assert isinstance(left.exception(), UndeliveredMessages)
    assert flushed.result()


async def test_a_delivery_that_had_not_begun_when_closing_was_cancelled_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def cancelled(timeout: float | None = None) -> bool:
        raise asyncio.CancelledError

    with InMemoryQueue({"logs": 1}) as queue:
        producer = await AsyncProducer("logs", queue.address).start()
        await producer.enqueue("logs", "x")
        monkeypatch.setattr(producer._sender, "flush", cancelled)
        future = await producer.send("logs", "y")
        with pytest.raises(asyncio.CancelledError):
            await producer.close()
        assert isinstance(future.exception(), UndeliveredMessages)
        assert queue.values("logs") == ["x"]


async def test_closing_in_time_says_what_was_left(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    config = ClientConfig(delivery_timeout_ms=100)
    producer = await AsyncProducer("logs", http_cluster.address, config=config).start()
    await producer.enqueue("logs", "x")
    with http_cluster.changed:
        out = await producer.send("logs", "out")
        await asyncio.sleep(0.01)
        left = await producer.send("logs", "left")
        with pytest.raises(UndeliveredMessages) as caught:
            await producer.close()
    assert caught.value.details["values"] == ["out", "left"]
    assert isinstance(left.exception(), UndeliveredMessages)
    assert out.exception() is not None


async def test_tasks_that_one_answer_woke_leave_together() -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        async with AsyncProducer("logs", queue.address) as producer:
            await producer.partition_count("logs")

            async def call(late: int) -> None:
                for _ in range(late):
                    await asyncio.sleep(0)
                for _ in range(20):
                    await producer.enqueue("logs", "x")

            await asyncio.gather(*(call(number) for number in range(8)))
        sizes = queue_batches(queue)
    # One more joins at each answer; at the end they leave one by one.
    assert sizes == [*range(1, 8), *[8] * 13, *range(7, 0, -1)]


async def test_what_is_sent_in_one_turn_leaves_together() -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        async with AsyncProducer("logs", queue.address) as producer:
            await producer.partition_count("logs")
            futures = [await producer.send("logs", "x") for _ in range(5)]
            await asyncio.gather(*futures)
        assert queue_batches(queue) == [5]


def queue_batches(queue: InMemoryQueue) -> list[int]:
    """Return how many messages each batch of the only partition has."""
    [partition] = queue._api.state.topics["logs"]
    starts = [base for base, _ in partition.batches]
    ends = [*starts[1:], len(partition.records)]
    return [end - start for start, end in zip(starts, ends, strict=True)]
