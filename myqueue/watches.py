"""Waiting at several partitions at once: one open `GET /size` per partition, no thread for any.

A size request with `wait_ms` answers as soon as the partition has something for the consumer. As
long as it has not answered the partition is empty, so it need not be asked again. What cannot be
watched (a broker that only the manager reaches) is asked again after a short pause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from myqueue.errors import QueueError
from myqueue.transport import read_body

if TYPE_CHECKING:
    from myqueue.clock import Clock
    from myqueue.transport import Exchange, Transport

TopicPartition = tuple[str, int]
WATCHED_MAX = 64
"""Most partitions watched at once; the others are asked in between."""
PAUSE_S = 0.2
"""How long to wait before partitions are asked that cannot be watched."""


class Watches:
    """The open size requests of a consumer. Not thread-safe: its owner holds a lock.

    Args:
        begin: sends the size request of a partition.
        transport: waits for the answers.
        clock: for pauses.
    """

    def __init__(
        self, begin: Callable[[TopicPartition], Exchange], transport: Transport, clock: Clock
    ) -> None:
        self._begin = begin
        self._transport = transport
        self._clock = clock
        self._open: dict[TopicPartition, Exchange] = {}

    def quiet(self, partitions: list[TopicPartition]) -> set[TopicPartition]:
        """Return those of the partitions that are known to be empty: watched and not answered."""
        self._collect(0.0)
        return self._open.keys() & set(partitions)

    def wait(self, partitions: list[TopicPartition], timeout_s: float) -> None:
        """Return when one of the partitions may have something, at the latest after the time."""
        watched = partitions[:WATCHED_MAX]
        for where in self._open.keys() - set(watched):
            self._open.pop(where).cancel()
        all_watched = len(watched) == len(partitions)
        for where in [where for where in watched if where not in self._open]:
            try:
                self._open[where] = self._begin(where)
            except QueueError:
                all_watched = False
        if not all_watched:
            timeout_s = min(timeout_s, PAUSE_S)
        if self._open:
            self._collect(timeout_s)
        else:
            self._clock.sleep(timeout_s)

    def close(self) -> None:
        """Give up every open request."""
        for exchange in self._open.values():
            exchange.cancel()
        self._open.clear()

    def forget(self) -> None:
        """Drop the open requests without touching them: they are the parent's."""
        self._open.clear()

    def _collect(self, timeout_s: float) -> None:
        """Close the requests that were answered, in whatever way: their partitions are asked."""
        if not self._open:
            return
        answered = self._transport.wait(list(self._open.values()), timeout_s=timeout_s)
        for where, exchange in list(self._open.items()):
            if exchange not in answered:
                continue
            del self._open[where]
            try:
                read_body(exchange.finish())
            except QueueError:
                continue  # the partition is asked next, and asking deals with failures
