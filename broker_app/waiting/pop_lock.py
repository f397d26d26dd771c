"""A lock of pops: one per consumer, or group, and partition at a time, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from myqueue.contract import retry_after
from myqueue.contract.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PopLockKey = tuple[int, int | str]
"""(group id, id of a consumer or name of a consumer group)."""


class PopLock:
    """A lock per key: first come, first served."""

    def __init__(self, waiting_max: int) -> None:
        """Make an empty registry.

        Args:
            waiting_max: most that wait behind one key's holder.
        """
        self._waiting_max = waiting_max
        self._queues: dict[PopLockKey, deque[asyncio.Future[None]]] = {}
        """By key that is taken: those that wait for it."""

    @asynccontextmanager
    async def hold(self, key: PopLockKey, *, timeout_ms: int) -> AsyncIterator[None]:
        """Hold the key, after everyone who came before.

        Args:
            key: what is held by one at a time.
            timeout_ms: how long to wait for it.

        Raises:
            Overloaded: too many wait for it already, or the time was over.
        """
        queue = self._queues.get(key)
        if queue is None:
            self._queues[key] = deque()
        else:
            await self._queue_up(key, queue, timeout_ms)
        try:
            yield
        finally:
            self._pass_on(key)

    async def _queue_up(
        self, key: PopLockKey, queue: deque[asyncio.Future[None]], timeout_ms: int
    ) -> None:
        if len(queue) >= self._waiting_max:
            raise _overloaded(key, f"{len(queue)} calls wait already")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        queue.append(future)
        timer = loop.call_later(timeout_ms / 1000, _expire, key, queue, future)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                if future in queue:
                    queue.remove(future)
            elif future.exception() is None:  # else its time was over: the turn is another's
                self._pass_on(key)
            raise
        finally:
            timer.cancel()

    def _pass_on(self, key: PopLockKey) -> None:
        queue = self._queues[key]
        while queue:
            future = queue.popleft()
            if not future.done():
                future.set_result(None)
                return
        del self._queues[key]


def _expire(
    key: PopLockKey, queue: deque[asyncio.Future[None]], future: asyncio.Future[None]
) -> None:
    if not future.done():
        queue.remove(future)
        future.set_exception(_overloaded(key, "an earlier call is still under way"))


def _overloaded(key: PopLockKey, why: str) -> Overloaded:
    whose = f"group '{key[1]}'" if isinstance(key[1], str) else f"consumer {key[1]}"
    return Overloaded(
        f"{whose} takes turns at this partition: {why}", retry_after_ms=retry_after.PARTITION_MS
    )
