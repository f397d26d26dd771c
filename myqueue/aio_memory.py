"""The seam of event loops to a queue in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from myqueue.memory_transport import MemoryExchange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myqueue.aio_transport import AsyncExchange
    from myqueue.http1 import Answer, Request
    from myqueue.testing import InMemoryQueue


class AsyncMemoryExchange:
    """A request that is answered at once, or held until there is something to answer."""

    def __init__(self, queue: InMemoryQueue, exchange: MemoryExchange) -> None:
        self._queue = queue
        self.exchange = exchange

    async def answer(self, patience_s: float | None = None) -> Answer | None:
        """Wait for the answer."""
        remaining_s = max(0.0, self.exchange.due_s - self._queue.now_s())
        wait_s = remaining_s if patience_s is None else min(patience_s, remaining_s)
        await changes(self._queue, self.exchange.look, wait_s)
        return self.exchange.result()

    def cancel(self) -> None:
        """Give the answer up."""
        self.exchange.cancel()


class AsyncMemoryTransport:
    """Requests straight into a queue in memory.

    Args:
        queue: in this process.
    """

    def __init__(self, queue: InMemoryQueue) -> None:
        self._queue = queue

    async def begin(
        self, address: str, request: Request, *, timeout_s: float
    ) -> AsyncMemoryExchange:
        """Send a request whose answer is read later."""
        self._queue.reach(address)
        exchange = MemoryExchange(self._queue, address, request, timeout_s)
        return AsyncMemoryExchange(self._queue, exchange)

    async def wait(
        self, exchanges: Sequence[AsyncExchange], *, timeout_s: float
    ) -> list[AsyncExchange]:
        """Return those of the exchanges that are answered, at the latest after the time."""
        mine = [cast("AsyncMemoryExchange", one).exchange for one in exchanges]
        due_s = min((one.due_s for one in mine), default=0.0) - self._queue.now_s()
        await changes(
            self._queue, lambda: any(one.look() for one in mine), min(timeout_s, max(0.0, due_s))
        )
        return [one for one, inner in zip(exchanges, mine, strict=True) if inner.look()]

    def close(self) -> None:
        """Forget nothing: there are no connections."""


async def changes(queue: InMemoryQueue, predicate: Callable[[], bool], timeout_s: float) -> None:
    """Return when the predicate holds after a change of the queue, or after the time."""
    if predicate():
        return
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def notify() -> None:
        loop.call_soon_threadsafe(changed.set)

    end = queue.listen(notify)
    try:
        async with asyncio.timeout(timeout_s):
            while not predicate():
                await changed.wait()
                changed.clear()
    except TimeoutError:
        predicate()
    finally:
        end()
