from __future__ import annotations

import asyncio

from myqueue.contract.http1 import Request
from myqueue.testing.aio_transport import AsyncMemoryTransport
from myqueue.testing.queue import InMemoryQueue


def held(queue: InMemoryQueue, wait_ms: int) -> Request:
    queue._api.state.clients[7] = ("consumer", "logs")
    query: dict[str, str | int] = {
        "topic": "logs",
        "partition": 0,
        "consumer_id": 7,
        "wait_ms": wait_ms,
    }
    return Request("GET", "/size", query=query, token="token-7")


async def test_a_held_request_is_answered_after_a_change() -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        transport = AsyncMemoryTransport(queue)
        exchange = await transport.begin(queue._broker, held(queue, 60_000), timeout_s=60)
        assert await exchange.answer(0) is None
        assert await transport.wait([exchange], timeout_s=0.01) == []
        queue._api.state.topics["logs"][0].put("x")
        with queue._changed:
            queue._notify()
        assert await transport.wait([exchange], timeout_s=60) == [exchange]
        assert await exchange.answer() is not None
        transport.close()


async def test_a_held_request_is_answered_when_its_time_is_over() -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        transport = AsyncMemoryTransport(queue)
        exchange = await transport.begin(queue._broker, held(queue, 20), timeout_s=60)
        assert await exchange.answer() is not None
        exchange.cancel()
        assert queue._listeners == set()
        await asyncio.sleep(0)
