from __future__ import annotations

import asyncio
from typing import Any

import pytest

from myqueue import AsyncProducer, AsyncWorker
from myqueue.contract.errors import InvalidRequest
from myqueue.results import Delivery, Settlement
from myqueue.testing.queue import InMemoryQueue

LONGEST_S = 20.0


async def filled(queue: InMemoryQueue, *values: str) -> None:
    async with AsyncProducer("jobs", queue.address) as producer:
        await producer.produce_many("jobs", values, partition=0)


async def test_tasks_share_the_work_and_failures_come_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries: list[tuple[str, int]] = []
    together = asyncio.Barrier(3)
    with InMemoryQueue() as queue:
        await filled(queue, *"abc")
        async with AsyncWorker("jobs", queue.address, "g") as worker:

            @worker.handler(concurrency=3, retry_delay=0.01)
            async def handle(delivery: Delivery) -> None:
                tries.append((delivery.text, delivery.delivery_count))
                if delivery.delivery_count == 1:
                    await asyncio.wait_for(together.wait(), LONGEST_S)
                if delivery.text == "c":
                    if delivery.delivery_count == 3:
                        worker.finish()
                        return
                    raise ValueError("not yet")

            await asyncio.wait_for(worker.run(), LONGEST_S)
            assert await worker.receive() == []
    assert sorted(tries) == [("a", 1), ("b", 1), ("c", 1), ("c", 2), ("c", 3)]
    assert "ValueError: not yet" in caplog.text


async def test_work_that_takes_long_is_kept_out_of_others_hands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extended: asyncio.Queue[str] = asyncio.Queue()
    with InMemoryQueue() as queue:
        await filled(queue, "slow")
        async with AsyncWorker("jobs", queue.address, "g", visibility=0.3) as worker:
            extend = worker.extend

            async def noted(*deliveries: Any) -> list[Settlement]:
                # Whether it came in time depends on the machine.
                extended.put_nowait(deliveries[0].receipt)
                return await extend(*deliveries)

            monkeypatch.setattr(worker, "extend", noted)
            kept: list[bool] = []

            @worker.handler
            async def handle(delivery: Delivery) -> None:
                worker.finish()
                found = await asyncio.wait_for(extended.get(), LONGEST_S)
                kept.append(found == delivery.receipt)

            await worker.run()
        assert kept == [True]


async def test_a_worker_that_is_closed_ends_and_functions_are_refused() -> None:
    with InMemoryQueue() as queue:
        await filled(queue, "x")
        worker = AsyncWorker("jobs", queue.address, "g")
        with pytest.raises(InvalidRequest, match="Worker takes others"):
            worker.handler(lambda delivery: None)  # type: ignore[arg-type,return-value]
        with pytest.raises(InvalidRequest, match="has no handler"):
            await worker.run()

        @worker.handler
        async def handle(delivery: Delivery) -> None:
            await worker.close()

        await asyncio.wait_for(worker.run(), LONGEST_S)
