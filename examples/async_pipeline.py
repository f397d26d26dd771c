"""Reads, asks something slow about many messages at once, and writes, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from myqueue import AsyncProducer, AsyncWorker, Delivery


async def enrich(
    look_up: Callable[[str], Awaitable[str]],
    address: str | None = None,
    *,
    stop: asyncio.Event | None = None,
) -> None:
    """Write what is found about each message of `visits` to `places`, until it is stopped.

    A message is acknowledged when its answer is stored, so that a crash repeats at most what was
    under way.

    Args:
        look_up: asks something slow.
        address: of a manager; MYQUEUE_ADDRESS when left out.
        stop: ends it, when it is set.
    """
    async with (
        AsyncWorker("visits", address, "enrich", create=True) as worker,
        AsyncProducer("places", address, serializer="json") as producer,
    ):

        @worker.handler(concurrency=100)
        async def work(delivery: Delivery) -> None:
            place = await look_up(delivery.text)
            await producer.enqueue("places", {"visitor": delivery.text, "place": place})

        if stop is not None:
            stopping = asyncio.create_task(stop.wait())
            stopping.add_done_callback(lambda _: worker.finish())
        await worker.run()


if __name__ == "__main__":

    async def nowhere(visitor: str) -> str:
        """Stand for something slow."""
        await asyncio.sleep(0.1)
        return f"the place of {visitor}"

    asyncio.run(enrich(nowhere))
