"""Requests that wait for messages: a future each, no thread, and no look at other partitions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from http_base.request_marks import Waiting
from myqueue.contract import retry_after
from myqueue.contract.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    _Waiters = dict[asyncio.Future[bool], None]
    """In the order of their arrival."""
    _Key = tuple[int, bool]
    """(group id, whether they are woken before the message is committed)."""


class LongPolls:
    """Waiters by group and by the offset that they wait for.

    Most wait for a message to be committed. A pop may be told already when the message enters the
    leader's log: its own entry then follows in the same turn, and both are committed together.
    """

    def __init__(self, waiting_max: int) -> None:
        """Make an empty registry.

        Args:
            waiting_max: most waiters at a time.
        """
        self._waiting_max = waiting_max
        self._groups: dict[_Key, dict[int, _Waiters]] = {}
        self._ended = False
        self.waiting = 0
        """Waiters at the moment."""

    @property
    def places(self) -> int:
        """At how many offsets of partitions somebody waits."""
        return sum(len(offsets) for offsets in self._groups.values())

    async def wait(
        self, group_id: int, offset: int, deadline: float, *, is_early: bool = False
    ) -> bool:
        """Wait until a message is at `offset` or until it is worth looking again.

        The caller has just seen that there is none.

        Args:
            group_id: of the partition.
            offset: the first one that is missed.
            deadline: loop time at which to give up.
            is_early: wake it already when the message enters the log of the leader, here.

        Returns:
            True to look again; False when the time is over or the broker stops.

        Raises:
            Overloaded: too many wait already.
        """
        return await self.wait_any([(group_id, offset)], deadline, is_early=is_early)

    async def wait_any(
        self, places: Sequence[tuple[int, int]], deadline: float, *, is_early: bool = False
    ) -> bool:
        """Wait as `wait` does for the first of several (group id, offset); one waiter in all."""
        loop = asyncio.get_running_loop()
        if self._ended or deadline <= loop.time():
            return False
        if self.waiting >= self._waiting_max:
            raise Overloaded(
                f"{self._waiting_max} long polls are open already; try again, or with wait_ms=0",
                retry_after_ms=retry_after.PARTITION_MS,
            )
        future: asyncio.Future[bool] = loop.create_future()
        for group_id, offset in places:
            offsets = self._groups.setdefault((group_id, is_early), {})
            offsets.setdefault(offset, {})[future] = None
        self.waiting += 1
        timer = loop.call_at(deadline, _resolve, (future,), False)
        try:
            with Waiting():
                return await future
        finally:
            timer.cancel()
            self.waiting -= 1
            for group_id, offset in places:
                self._leave((group_id, is_early), offset, future)

    def appended(self, group_id: int, next_offset: int) -> None:
        """Wake those that are woken early: what is below `next_offset` is in the leader's log."""
        self._wake((group_id, True), next_offset)

    def applied(self, group_id: int, next_offset: int) -> None:
        """Wake those that wait for offsets below `next_offset`."""
        if self._groups:
            self._wake((group_id, False), next_offset)
            self._wake((group_id, True), next_offset)

    def disturb(self, group_id: int) -> None:
        """Wake all waiters of a group: its leadership changed."""
        for key in ((group_id, False), (group_id, True)):
            for waiters in self._groups.pop(key, {}).values():
                _resolve(waiters, True)

    def end(self) -> None:
        """Wake everyone with what there is, and let nobody wait any more."""
        self._ended = True
        for offsets in self._groups.values():
            for waiters in offsets.values():
                _resolve(waiters, False)
        self._groups.clear()

    def _wake(self, key: _Key, next_offset: int) -> None:
        offsets = self._groups.get(key)
        if offsets:
            for offset in [offset for offset in offsets if offset < next_offset]:
                _resolve(offsets.pop(offset), True)

    def _leave(self, key: _Key, offset: int, future: asyncio.Future[bool]) -> None:
        offsets = self._groups.get(key, {})
        waiters = offsets.get(offset)
        if waiters is None:
            return
        waiters.pop(future, None)
        if not waiters:
            del offsets[offset]
            if not offsets:
                del self._groups[key]


def _resolve(futures: Iterable[asyncio.Future[bool]], result: bool) -> None:
    for future in futures:
        if not future.done():
            future.set_result(result)
