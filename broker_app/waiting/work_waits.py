"""Workers that wait for messages: of each group in a partition one is woken at a time.

A message that is there wakes the worker that has waited longest; only when that one has been
served, and more is there, the next is woken. So a thousand workers that wait cost one proposal per
message and not a thousand. Messages that come back at a time have one timer per group.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from http_base.request_marks import Waiting
from myqueue.contract import retry_after
from myqueue.contract.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WaitKey = tuple[int, str]
"""(group id, name of a consumer group)."""


class _Queue:
    """The workers of one group that wait in one partition."""

    def __init__(self) -> None:
        self.waiters: dict[asyncio.Future[WaitKey | None], None] = {}
        """In the order of their arrival."""
        self.timer: asyncio.TimerHandle | None = None
        self.woken = False
        """One of them was woken and has not been served yet."""

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class WorkWaits:
    """Waiting workers by partition and group."""

    def __init__(self, waiting_max: int, due_in: Callable[[WaitKey], float | None]) -> None:
        """Make an empty registry.

        Args:
            waiting_max: most waiters at a time.
            due_in: returns in how many seconds a message is there for a group, 0 when one is or
                when there is another reason to look, None when only news can tell.
        """
        self._waiting_max = waiting_max
        self._due_in = due_in
        self._partitions: dict[int, dict[str, _Queue]] = {}
        self._ended = False
        self.waiting = 0
        """Waiters at the moment."""

    async def wait(self, key: WaitKey, deadline: float) -> bool:
        """Wait until it is this caller's turn to look for messages.

        Args:
            key: what to wait for.
            deadline: loop time at which to give up.

        Returns:
            True to look again, and then to call `served` whatever came of it; False when the time
            is over or the broker stops.

        Raises:
            Overloaded: too many wait already.
        """
        return await self.wait_any([key], deadline) is not None

    async def wait_any(self, keys: Sequence[WaitKey], deadline: float) -> WaitKey | None:
        """Wait as `wait` does for the first of several; one waiter in all.

        Returns:
            The one to look at again, for which to call `served`; None when the time is over.
        """
        loop = asyncio.get_running_loop()
        if self._ended or deadline <= loop.time():
            return None
        if self.waiting >= self._waiting_max:
            raise Overloaded(
                f"{self._waiting_max} workers wait already; try again, or with wait_ms=0",
                retry_after_ms=retry_after.PARTITION_MS,
            )
        future: asyncio.Future[WaitKey | None] = loop.create_future()
        queues = [
            (key, self._partitions.setdefault(key[0], {}).setdefault(key[1], _Queue()))
            for key in keys
        ]
        for _, queue in queues:
            queue.waiters[future] = None
        self.waiting += 1
        timer = loop.call_at(deadline, _resolve, future, None)
        for key, queue in queues:
            self._consider(key, queue)
        try:
            with Waiting():
                return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and (woken := future.result()):
                self.served(woken)
            raise
        finally:
            timer.cancel()
            self.waiting -= 1
            for key, queue in queues:
                queue.waiters.pop(future, None)
                self._drop_if_empty(key, queue)

    def served(self, key: WaitKey) -> None:
        """Note that a woken worker has looked for messages: what is left wakes the next."""
        queue = self._partitions.get(key[0], {}).get(key[1])
        if queue is not None:
            queue.woken = False
            self._consider(key, queue)
            self._drop_if_empty(key, queue)

    def applied(self, group_id: int) -> None:
        """Look after the waiters of a partition, whose state has changed."""
        for name, queue in self._partitions.get(group_id, {}).items():
            self._consider((group_id, name), queue)

    def disturb(self, group_id: int) -> None:
        """Wake all waiters of a partition: its leadership changed."""
        for name, queue in self._partitions.get(group_id, {}).items():
            for future in queue.waiters:
                _resolve(future, (group_id, name))

    def end(self) -> None:
        """Wake everyone with what there is, and let nobody wait any more."""
        self._ended = True
        for queues in self._partitions.values():
            for queue in queues.values():
                queue.stop_timer()
                for future in queue.waiters:
                    _resolve(future, None)

    def _consider(self, key: WaitKey, queue: _Queue) -> None:
        """Wake one waiter if a message is there, or set the timer to when one will be."""
        queue.stop_timer()
        if queue.woken or self._ended:
            return
        first = next((future for future in queue.waiters if not future.done()), None)
        if first is None:
            return
        seconds = self._due_in(key)
        if seconds is None:
            return
        if seconds <= 0:
            queue.woken = True
            _resolve(first, key)
        else:
            loop = asyncio.get_running_loop()
            queue.timer = loop.call_later(seconds, self._consider, key, queue)

    def _drop_if_empty(self, key: WaitKey, queue: _Queue) -> None:
        if queue.waiters or queue.woken:
            return
        queue.stop_timer()
        queues = self._partitions.get(key[0], {})
        if queues.get(key[1]) is queue:
            del queues[key[1]]
            if not queues:
                del self._partitions[key[0]]


def _resolve(future: asyncio.Future[WaitKey | None], result: WaitKey | None) -> None:
    if not future.done():
        future.set_result(result)
