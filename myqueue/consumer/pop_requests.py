"""Pops whose answer was lost, and messages popped but not handed out. Pure.

A pop is repeated under its request id until its answer is known; a call that gives up leaves it
here, and the next call for the partition takes it up first. So a lost answer is never a lost
message.
"""

from __future__ import annotations

import uuid
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from myqueue.results import Message
    from myqueue.transport.rotation import TopicPartition


class Pop(NamedTuple):
    """One pop request; repetitions have the same id and ask for the same number."""

    request_id: str
    max_messages: int
    uncertain: bool = False
    """True once it may have happened: it is repeated until an answer tells."""


class Pops:
    """What is between the cluster and the program. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._unsettled: dict[TopicPartition, deque[Pop]] = {}
        self._ready: dict[TopicPartition, deque[Message]] = {}

    def begin(self, where: TopicPartition, max_messages: int) -> Pop:
        """Return the oldest unsettled pop of the partition, or a new one."""
        unsettled = self._unsettled.get(where)
        if unsettled:
            pop = unsettled.popleft()
            if not unsettled:
                del self._unsettled[where]
            return pop
        return Pop(uuid.uuid4().hex, max_messages)

    def unsettled(self, where: TopicPartition, pop: Pop) -> None:
        """Keep a pop that may have happened, to be repeated."""
        self._unsettled.setdefault(where, deque()).append(pop._replace(uncertain=True))

    def has_unsettled(self, where: TopicPartition) -> bool:
        """Return True while a pop of this partition must be repeated."""
        return where in self._unsettled

    @property
    def unsettled_partitions(self) -> list[TopicPartition]:
        """The partitions of which a pop must be repeated."""
        return list(self._unsettled)

    def keep(self, messages: list[Message]) -> None:
        """Put popped messages behind those of their partition that wait to be handed out."""
        for message in messages:
            where = (message.topic, message.partition)
            self._ready.setdefault(where, deque()).append(message)

    def put_back(self, messages: list[Message]) -> None:
        """Put messages that were taken, and not handed out, before those that wait."""
        for message in reversed(messages):
            where = (message.topic, message.partition)
            self._ready.setdefault(where, deque()).appendleft(message)

    def take(
        self, topics: Collection[str], max_messages: int, partition: int | None = None
    ) -> list[Message]:
        """Remove and return messages that wait to be handed out, of one partition."""
        for where, queue in self._ready.items():
            if where[0] not in topics or partition not in (None, where[1]):
                continue
            taken = [queue.popleft() for _ in range(min(max_messages, len(queue)))]
            if not queue:
                del self._ready[where]
            return taken
        return []

    def take_one(self) -> Message | None:
        """Remove and return the next message that waits to be handed out, if there is one."""
        for where, queue in self._ready.items():
            message = queue.popleft()
            if not queue:
                del self._ready[where]
            return message
        return None

    def drop(self, where: TopicPartition) -> list[Message]:
        """Remove and return what waits of a partition."""
        return list(self._ready.pop(where, ()))

    def drop_all(self) -> dict[TopicPartition, list[Message]]:
        """Remove and return what waits, by partition."""
        dropped = {where: list(queue) for where, queue in self._ready.items()}
        self._ready.clear()
        return dropped

    def oldest(self, where: TopicPartition) -> Message | None:
        """Return the next message of a partition that waits to be handed out."""
        queue = self._ready.get(where)
        return queue[0] if queue else None

    def waiting(self, topic: str, partition: int | None = None) -> int:
        """Return the number of messages that wait to be handed out."""
        return sum(
            len(queue)
            for where, queue in self._ready.items()
            if where[0] == topic and partition in (None, where[1])
        )


def returnable(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """Split what waits of a partition into what a cursor can be moved back over, and the rest.

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
