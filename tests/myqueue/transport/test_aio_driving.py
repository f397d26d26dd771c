from __future__ import annotations

import asyncio
from typing import Any

import pytest

from myqueue.contract.errors import BrokerUnreachable
from myqueue.contract.http1 import Request
from myqueue.testing.aio_transport import AsyncMemoryTransport
from myqueue.testing.queue import InMemoryQueue
from myqueue.transport.aio_driving import drive_async
from myqueue.transport.effects import Acquire, Ask, Await, AwaitAny, Begin, Flow, Pause

TOPICS = Request("GET", "/topics")


async def test_effects_are_carried_out_in_order() -> None:
    lock = asyncio.Lock()
    with InMemoryQueue() as queue:

        def flow() -> Flow[Any]:
            answer = yield Ask(queue.address, TOPICS, 5.0)
            pending = yield Begin(queue.address, TOPICS, 5.0)
            answered = yield AwaitAny([pending], 5.0)
            assert answered == [pending]
            again = yield Await(pending)
            yield Pause(0.001)
            assert (yield Acquire(lock))
            assert not (yield Acquire(lock, 0.001))
            lock.release()
            return answer.status, again.status

        assert await drive_async(flow(), AsyncMemoryTransport(queue)) == (200, 200)


async def test_a_flow_is_told_what_went_wrong() -> None:
    with InMemoryQueue() as queue:

        def flow() -> Flow[str]:
            try:
                yield Ask("memory://nobody", TOPICS, 5.0)
            except BrokerUnreachable as error:
                return error.code
            return ""

        assert await drive_async(flow(), AsyncMemoryTransport(queue)) == "BROKER_UNREACHABLE"


async def test_a_cancelled_task_reaches_the_flow() -> None:
    told: list[BaseException] = []

    def flow() -> Flow[None]:
        try:
            yield Pause(60.0)
        except BaseException as error:
            told.append(error)
            raise

    with InMemoryQueue() as queue:
        task = asyncio.create_task(drive_async(flow(), AsyncMemoryTransport(queue)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert isinstance(told[0], asyncio.CancelledError)
