"""Pops whose answer was lost, and messages popped but not handed out. Pure.

A pop is repeated under its request id until its answer is known. A call that times out leaves it
here, and the next call for the partition repeats it first, so that a lost answer loses no message.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from myqueue.results import Message
    from myqueue.transport.effects import Pending
    from myqueue.transport.rotation import TopicPartition

PREFETCHED_PARTITIONS_MAX = 16
"""Most partitions of which a request ahead is out."""


class Pop(NamedTuple):
    """One pop request; repetitions have the same id and ask for the same number."""

    request_id: str
    max_messages: int
    uncertain: bool = False
    """True once it may have happened: it is repeated until an answer tells."""


class Ahead(NamedTuple):
    """A pop that was sent ahead (prefetch)."""

    pop: Pop
    pending: Pending


class Pops:
    """Pops in flight and prefetched messages. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unsettled: dict[TopicPartition, deque[Pop]] = {}
        self._ahead: dict[TopicPartition, Ahead] = {}
        self._ready: dict[TopicPartition, deque[Message]] = {}
        self._is_closed = False

    # Requests

    def begin(self, where: TopicPartition, max_messages: int) -> Pop:
        """Return the oldest unsettled pop of the partition, or a new one."""
        with self._lock:
            unsettled = self._unsettled.get(where)
            if not unsettled:
                return Pop(uuid.uuid4().hex, max_messages)
            pop = unsettled.popleft()
            if not unsettled:
                del self._unsettled[where]
            return pop

    def begin_ahead(self, where: TopicPartition, max_messages: int) -> Pop | None:
        """Return a pop to send ahead; None when it must not be sent now."""
        with self._lock:
            full = len(self._ahead) >= PREFETCHED_PARTITIONS_MAX
            is_open = where in self._ahead or where in self._unsettled
            if full or self._is_closed or is_open:
                return None
            return Pop(uuid.uuid4().hex, max_messages)

    def unsettled(self, where: TopicPartition, pop: Pop) -> None:
        """Keep a pop that may have happened, to be repeated."""
        with self._lock:
            kept = self._unsettled.setdefault(where, deque())
            kept.append(pop._replace(uncertain=True))

    def sent_ahead(self, where: TopicPartition, ahead: Ahead) -> None:
        """Keep a pop whose answer the next one of the partition takes."""
        with self._lock:
            self._ahead[where] = ahead

    def take_ahead(self, where: TopicPartition) -> Ahead | None:
        """Return the pop of the partition that was sent ahead, if there is one."""
        with self._lock:
            return self._ahead.pop(where, None)

    def is_open(self, where: TopicPartition) -> bool:
        """Return True while the outcome of a pop of this partition is open."""
        with self._lock:
            return where in self._ahead or where in self._unsettled

    def open_partitions(self) -> set[TopicPartition]:
        """Return the partitions with a pop whose outcome is open."""
        with self._lock:
            return {*self._ahead, *self._unsettled}

    # Messages

    def keep(self, messages: list[Message]) -> None:
        """Put popped messages behind those of their partition that wait to be handed out."""
        with self._lock:
            for message in messages:
                where = (message.topic, message.partition)
                self._ready.setdefault(where, deque()).append(message)

    def put_back(self, messages: list[Message]) -> None:
        """Put taken messages that were not handed out back before those that wait."""
        with self._lock:
            self._put_back(messages)

    def offer(self, messages: list[Message]) -> bool:
        """Put messages before those that wait, unless nothing is handed out one by one any more."""
        with self._lock:
            if not self._is_closed:
                self._put_back(messages)
            return not self._is_closed

    def _put_back(self, messages: list[Message]) -> None:
        for message in reversed(messages):
            where = (message.topic, message.partition)
            self._ready.setdefault(where, deque()).appendleft(message)

    def take(
        self, topics: Collection[str], max_messages: int, partition: int | None = None
    ) -> list[Message]:
        """Remove and return messages that wait to be handed out, of one partition."""
        with self._lock:
            for where, queue in self._ready.items():
                if where[0] not in topics or partition not in (None, where[1]):
                    continue
                taken = [queue.popleft() for _ in range(min(max_messages, len(queue)))]
                if not queue:
                    del self._ready[where]
                return taken
        return []

    def take_one(self) -> Message | None:
        """Remove and return the next message that waits; None without one, or when closed."""
        with self._lock:
            if self._is_closed:
                return None
            for where, queue in self._ready.items():
                message = queue.popleft()
                if not queue:
                    del self._ready[where]
                return message
        return None

    def drop(self, where: TopicPartition) -> list[Message]:
        """Remove and return the messages of a partition that wait."""
        with self._lock:
            return list(self._ready.pop(where, ()))

    def oldest(self, where: TopicPartition) -> Message | None:
        """Return the next message of a partition that waits to be handed out."""
        with self._lock:
            queue = self._ready.get(where)
            return queue[0] if queue else None

    def waiting(self, topic: str, partition: int | None = None) -> int:
        """Return the number of messages that wait to be handed out."""
        with self._lock:
            return sum(
                len(queue)
                for where, queue in self._ready.items()
                if where[0] == topic and partition in (None, where[1])
            )

    # The end

    def close(self) -> None:
        """Stop iterations, and send nothing ahead any more."""
        with self._lock:
            self._is_closed = True

    def drop_all(self) -> dict[TopicPartition, list[Message]]:
        """Remove and return the messages that wait, by partition."""
        with self._lock:
            dropped = {where: list(queue) for where, queue in self._ready.items()}
            self._ready.clear()
        return dropped

    def forget(self) -> list[Pending]:
        """Forget all messages and requests; return those whose answer is still to come."""
        with self._lock:
            pending = [ahead.pending for ahead in self._ahead.values()]
            for kept in (self._ready, self._unsettled, self._ahead):
                kept.clear()
        return pending


def returnable(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """Split the waiting messages of a partition into those that can be given back, and the rest.

    The cursor stands after the last message. It may move back over those before it only as long as
    there is no gap: another thread was handed the messages of a gap, and would get them again.

    Returns:
        The others, and the longest run at the end.
    """
    ordered = sorted(messages, key=lambda message: message.offset)
    start = len(ordered) - 1
    while start > 0 and ordered[start - 1].offset == ordered[start].offset - 1:
        start -= 1
    return ordered[:start], ordered[start:]
