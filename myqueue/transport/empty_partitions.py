"""Waiting at several partitions at once: one open `GET /size` per partition, no thread for any.

A size request with `wait_ms` answers as soon as the partition has something for the consumer. As
long as it has not answered the partition is empty, so it need not be asked again. What cannot be
watched (a broker that only the manager reaches) is asked again after a short pause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from myqueue.contract.errors import QueueError
from myqueue.transport.blocking import read_body
from myqueue.transport.effects import Await, AwaitAny, Flow, Pause, Pending

if TYPE_CHECKING:
    from myqueue.transport.rotation import TopicPartition

WATCHED_MAX = 64
"""Most partitions watched at once; the others are asked in between."""
PAUSE_S = 0.2
"""How long to wait before partitions are asked that cannot be watched."""


class EmptyPartitions:
    """The open size requests of a consumer. Only one flow at a time uses it.

    Args:
        begin: a flow that sends the size request of a partition.
    """

    def __init__(self, begin: Callable[[TopicPartition], Flow[Pending]]) -> None:
        self._begin = begin
        self._open: dict[TopicPartition, Pending] = {}

    def quiet(self, partitions: list[TopicPartition]) -> Flow[set[TopicPartition]]:
        """Return those of the partitions that are known to be empty: watched and not answered."""
        yield from self._collect(0.0)
        return self._open.keys() & set(partitions)

    def wait(self, partitions: list[TopicPartition], timeout_s: float) -> Flow[None]:
        """Return when one of the partitions may have something, at the latest after the time."""
        watched = partitions[:WATCHED_MAX]
        for where in self._open.keys() - set(watched):
            self._open.pop(where).cancel()
        all_watched = len(watched) == len(partitions)
        for where in [where for where in watched if where not in self._open]:
            try:
                self._open[where] = yield from self._begin(where)
            except QueueError:
                all_watched = False
        if not all_watched:
            timeout_s = min(timeout_s, PAUSE_S)
        if self._open:
            yield from self._collect(timeout_s)
        else:
            yield Pause(timeout_s)

    def close(self) -> None:
        """Give up every open request."""
        for pending in self._open.values():
            pending.cancel()
        self._open.clear()

    def forget(self) -> None:
        """Drop the open requests without touching them: they are the parent's."""
        self._open.clear()

    def _collect(self, timeout_s: float) -> Flow[None]:
        """Close the requests that were answered, in whatever way: their partitions are asked."""
        if not self._open:
            return
        answered: list[Pending] = yield AwaitAny(list(self._open.values()), timeout_s)
        for where, pending in list(self._open.items()):
            if pending not in answered:
                continue
            try:
                answer = yield Await(pending, 0.0)
                if answer is None:
                    continue
                read_body(answer)
            except QueueError:
                pass  # the partition is asked next, and asking deals with failures
            del self._open[where]
