from __future__ import annotations

import asyncio
import random

import pytest

from myqueue import AsyncWorker, ClientClosed
from myqueue.testing.queue import InMemoryQueue


async def test_a_worker_registers_at_its_first_call_and_leaves_nothing() -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        queue._api.state.topics["logs"][0].put("x")
        worker = AsyncWorker("logs", queue.address, "workers")
        assert queue._api.state.clients == {}
        (found,) = await worker.receive(timeout=None)
        assert worker.group == "workers"
        assert worker.missed == 0
        assert len(queue._api.state.clients) == 1
        await worker.ack(found)
        await worker.close()
        await worker.close()
        assert queue._api.state.clients == {}
        with pytest.raises(ClientClosed):
            await worker.receive(timeout=None)


async def test_an_iteration_ends_when_another_task_closes_the_worker() -> None:
    with InMemoryQueue({"logs": 2}) as queue:
        worker = await AsyncWorker("logs", queue.address, "workers").start()

        async def read() -> list[str]:
            return [delivery.text async for delivery in worker]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        await worker.close()
        queue._api.state.topics["logs"][0].put("x")
        with queue._changed:
            queue._notify()
        async with asyncio.timeout(20):
            assert await reading == []
        # What was put after the end is in nobody's hands.
        async with AsyncWorker("logs", queue.address, "workers") as other:
            (found,) = await other.receive(timeout=None)
            assert found.delivery_count == 1


async def test_cancelled_calls_take_nothing_that_others_wait_for() -> None:
    chance = random.Random(7)
    with InMemoryQueue({"logs": 2}) as queue:
        async with AsyncWorker("logs", queue.address, "workers", visibility_ms=60_000) as worker:
            seen: set[tuple[int, int]] = set()
            for number in range(60):
                task = asyncio.create_task(worker.receive(1, None))
                await asyncio.sleep(chance.random() * 0.003)
                queue._api.state.topics["logs"][number % 2].put(str(number))
                task.cancel()
                try:
                    found = await task
                except asyncio.CancelledError:
                    continue
                seen |= {(one.partition, one.offset) for one in found}
            while found := await worker.receive(timeout=0):
                seen |= {(one.partition, one.offset) for one in found}
            assert len(seen) == 60
