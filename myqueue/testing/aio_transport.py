"""The transport of the asyncio client to a queue in memory."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from myqueue.testing.transport import MemoryExchange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myqueue.contract.http1 import Answer, Request
    from myqueue.testing.transport import Host
    from myqueue.transport.aio import AsyncExchange


class AsyncMemoryExchange:
    """A request that is answered at once, or held as a long poll."""

    def __init__(self, queue: Host, exchange: MemoryExchange) -> None:
        self._queue = queue
        self.exchange = exchange

    async def answer(self, patience_s: float | None = None) -> Answer | None:
        """Return the answer; None when none came within `patience_s` seconds."""
        await changes(self._queue, [self.exchange], patience_s)
        return self.exchange.result()

    def cancel(self) -> None:
        """Note that nobody waits for the answer any more."""
        self.exchange.cancel()


class AsyncMemoryTransport:
    """Requests straight into a queue in memory.

    Args:
        queue: in this process.
    """

    def __init__(self, queue: Host) -> None:
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
        await changes(self._queue, mine, timeout_s)
        return [one for one, inner in zip(exchanges, mine, strict=True) if inner.look()]

    def close(self) -> None:
        """Do nothing: there are no connections."""


async def changes(
    queue: Host, exchanges: Sequence[MemoryExchange], timeout_s: float | None
) -> None:
    """Return when an exchange is answered, after a change of the queue or when it is due."""
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def notify() -> None:
        loop.call_soon_threadsafe(changed.set)

    until_s = None if timeout_s is None else queue.now_s() + timeout_s
    end = queue.listen(notify)
    try:
        while not any(one.look() for one in exchanges):
            now_s = queue.now_s()
            if until_s is not None and now_s >= until_s:
                return
            dues = [one.due_s for one in exchanges] + ([] if until_s is None else [until_s])
            remaining_s = min(dues) - now_s
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, remaining_s)):
                    await changed.wait()
            changed.clear()
    finally:
        end()
