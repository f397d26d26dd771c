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
    from myqueue.results import Message

TopicPartition = tuple[str, int]


class Pop(NamedTuple):
    """One pop request; repetitions have the same id and ask for the same number."""

    request_id: str
    max_messages: int


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
        self._unsettled.setdefault(where, deque()).append(pop)

    def has_unsettled(self, where: TopicPartition) -> bool:
        """Return True while a pop of this partition must be repeated."""
        return where in self._unsettled

    def keep(self, messages: list[Message]) -> None:
        """Put popped messages behind those that wait to be handed out."""
        for message in messages:
            where = (message.topic, message.partition)
            self._ready.setdefault(where, deque()).append(message)

    def take(
        self, topics: list[str], max_messages: int, partition: int | None = None
    ) -> list[Message]:
        """Remove and return messages that wait to be handed out, of one partition or of any."""
        taken: list[Message] = []
        for where in [where for where in self._ready if where[0] in topics]:
            if partition is not None and where[1] != partition:
                continue
            queue = self._ready[where]
            while queue and len(taken) < max_messages:
                taken.append(queue.popleft())
            if not queue:
                del self._ready[where]
        return taken

    def waiting(self, topic: str, partition: int | None = None) -> int:
        """Return the number of messages that wait to be handed out."""
        return sum(
            len(queue)
            for where, queue in self._ready.items()
            if where[0] == topic and partition in (None, where[1])
        )


class Rotation:
    """The order in which partitions are asked: after the one that gave messages last. Pure."""

    def __init__(self) -> None:
        self._last: TopicPartition | None = None

    def order(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Return the partitions, beginning after the one that was served last."""
        if self._last not in partitions:
            return partitions
        start = partitions.index(self._last) + 1
        return partitions[start:] + partitions[:start]

    def served(self, where: TopicPartition) -> None:
        """Remember which partition gave messages."""
        self._last = where
