"""Long polls at several partitions at once, without a thread for each.

A request with `wait_ms` (a consumer's size, a worker's receive of nothing) is answered as soon as
the partition has messages. As long as it is not answered, the partition is empty and need not be
asked. A partition without a long poll (its broker is reached through a manager alone) is asked
again after a short pause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from myqueue.contract.errors import QueueError
from myqueue.transport.blocking import read_body
from myqueue.transport.effects import Await, AwaitAny, Flow, Pause, Pending

if TYPE_CHECKING:
    from myqueue.transport.rotation import TopicPartition

HELD_MAX = 64
"""Most partitions with an open request; the others are asked in between."""
PAUSE_S = 0.2
"""How long to wait before partitions are asked that hold no request."""


class EmptyPartitions:
    """The long polls of one reader at empty partitions. Only one flow at a time uses it.

    Args:
        begin: a flow that sends the request of a partition.
    """

    def __init__(self, begin: Callable[[TopicPartition], Flow[Pending]]) -> None:
        self._begin = begin
        self._open: dict[TopicPartition, Pending] = {}

    def quiet(self, partitions: list[TopicPartition]) -> Flow[set[TopicPartition]]:
        """Return the partitions that are known to be empty: their long polls are not answered."""
        yield from self._collect(0.0)
        return self._open.keys() & set(partitions)

    def wait(self, partitions: list[TopicPartition], timeout_s: float) -> Flow[None]:
        """Return when one of the partitions may have messages, or when the time is over."""
        held = partitions[:HELD_MAX]
        for where in self._open.keys() - set(held):
            self._open.pop(where).cancel()
        all_held = len(held) == len(partitions)
        for where in [where for where in held if where not in self._open]:
            try:
                self._open[where] = yield from self._begin(where)
            except QueueError:
                all_held = False
        if not all_held:
            timeout_s = min(timeout_s, PAUSE_S)
        if self._open:
            yield from self._collect(timeout_s)
        else:
            yield Pause(timeout_s)

    def close(self) -> None:
        """Cancel every long poll."""
        for pending in self._open.values():
            pending.cancel()
        self._open.clear()

    def _collect(self, timeout_s: float) -> Flow[None]:
        """Close the long polls that were answered, also with errors: their partitions are asked."""
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
