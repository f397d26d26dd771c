"""What `send` was given and the sender has not taken yet, one queue per partition. Pure.

Whatever arrives while a batch is out forms the next one (natural batching). Partitions take turns
in the order in which they got their oldest waiting message.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from concurrent.futures import Future

    from myqueue.records import Record
    from myqueue.results import Delivered

TopicPartition = tuple[str, int]


class Waiting(NamedTuple):
    """A message on its way, and the future that tells its fate."""

    record: Record
    future: Future[Delivered]
    size_bytes: int


class Accumulator:
    """Bounded queues of waiting messages. Not thread-safe: its owner holds a lock.

    Args:
        buffer_bytes: most bytes in all queues; a single message may be larger when nothing waits.
        batch_messages: most messages of a batch.
        batch_bytes: most bytes of a batch with more than one message.
    """

    def __init__(self, *, buffer_bytes: int, batch_messages: int, batch_bytes: int) -> None:
        self._buffer_bytes = buffer_bytes
        self._batch_messages = batch_messages
        self._batch_bytes = batch_bytes
        self._queues: dict[TopicPartition, deque[Waiting]] = {}
        self.waiting_bytes = 0
        self.waiting_messages = 0

    def has_room(self, size_bytes: int) -> bool:
        """Return True when a message of this size may be added."""
        return not self.waiting_bytes or self.waiting_bytes + size_bytes <= self._buffer_bytes

    def add(self, where: TopicPartition, waiting: Waiting) -> None:
        """Queue a message behind the others of its partition."""
        self._queues.setdefault(where, deque()).append(waiting)
        self.waiting_bytes += waiting.size_bytes
        self.waiting_messages += 1

    def holds(self, where: TopicPartition) -> bool:
        """Return True while messages of this partition wait."""
        return where in self._queues

    def take(self) -> tuple[TopicPartition, list[Waiting]] | None:
        """Remove and return the next batch, or None when nothing waits."""
        if not self._queues:
            return None
        where = next(iter(self._queues))
        queue = self._queues.pop(where)
        batch = [queue.popleft()]
        size = batch[0].size_bytes
        while queue and len(batch) < self._batch_messages:
            size += queue[0].size_bytes
            if size > self._batch_bytes:
                break
            batch.append(queue.popleft())
        if queue:
            self._queues[where] = queue
        self.waiting_messages -= len(batch)
        self.waiting_bytes -= sum(waiting.size_bytes for waiting in batch)
        return where, batch

    def take_all(self) -> list[Waiting]:
        """Remove and return everything, in no particular order of partitions."""
        everything = [waiting for queue in self._queues.values() for waiting in queue]
        self._queues.clear()
        self.waiting_bytes = self.waiting_messages = 0
        return everything
