"""A lock of pops: one per consumer, or group, and partition at a time, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque

from myqueue.contract import retry_after
from myqueue.contract.errors import Overloaded

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

    def hold(self, key: PopLockKey, *, timeout_ms: int) -> _Turn:
        """Return a turn: who enters it holds the key, after everyone who came before.

        Args:
            key: what is held by one at a time.
            timeout_ms: how long to wait for it.
        """
        return _Turn(self, key, timeout_ms)

    async def take(self, key: PopLockKey, timeout_ms: int) -> None:
        """Wait for the key and hold it.

        Raises:
            Overloaded: too many wait for it already, or the time was over.
        """
        queue = self._queues.get(key)
        if queue is None:
            self._queues[key] = deque()
            return
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
                self.pass_on(key)
            raise
        finally:
            timer.cancel()

    def pass_on(self, key: PopLockKey) -> None:
        """Give the key to whoever has waited longest for it."""
        queue = self._queues[key]
        while queue:
            future = queue.popleft()
            if not future.done():
                future.set_result(None)
                return
        del self._queues[key]


class _Turn:
    """The turn of one that holds a key while it is entered."""

    __slots__ = ("_key", "_lock", "_timeout_ms")

    def __init__(self, lock: PopLock, key: PopLockKey, timeout_ms: int) -> None:
        self._lock, self._key, self._timeout_ms = lock, key, timeout_ms

    async def __aenter__(self) -> None:
        """Wait for the key; see `PopLock.take`."""
        await self._lock.take(self._key, self._timeout_ms)

    async def __aexit__(self, *_: object) -> None:
        """Pass the key on."""
        self._lock.pass_on(self._key)


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
