"""Whose turn it is among partitions: after the one served last; those that fail come later. Pure.

A partition without a leader must not keep a reader from the others, so it gets one short try and
is asked again only after a pause that doubles, while the others go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from myqueue.errors import PartitionNotFound
from myqueue.pops import Rotation

if TYPE_CHECKING:
    from myqueue.errors import QueueError
    from myqueue.pops import TopicPartition

ONE_TRY_S = 0.25
"""How long a partition may keep the others waiting: time for redirects, not for an election."""
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
RETRY_AT_LEAST_S = 0.001


def may_pass(error: QueueError) -> bool:
    """Tell whether a partition may answer later: also one that is being made, or moved."""
    return error.retriable or isinstance(error, PartitionNotFound)


class Silence(NamedTuple):
    """A partition that did not answer."""

    error: QueueError
    pause_s: float
    retry_s: float
    """Monotonic time from which it is asked again."""
    since_s: float
    """Monotonic time of its first failure in a row."""


def wait_s(
    silent: dict[TopicPartition, Silence], now_s: float, *, deadline_s: float, longest_s: float
) -> float:
    """Return how long to wait for the partitions that answer, in seconds; not above 0: not at all.

    That is until one that did not answer may be asked again, also when the time is over: what it
    has is not known before it was asked.
    """
    remaining_s = min(deadline_s - now_s, longest_s)
    if not silent:
        return remaining_s
    retry_s = max(RETRY_AT_LEAST_S, min(one.retry_s for one in silent.values()) - now_s)
    return retry_s if deadline_s <= now_s else min(remaining_s, retry_s)


class Turns:
    """The order in which partitions are asked. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._rotation = Rotation()
        self._silent: dict[TopicPartition, Silence] = {}

    def order(self, partitions: list[TopicPartition], now_s: float) -> list[TopicPartition]:
        """Return the partitions to ask now, beginning after the one that was served last."""
        return [
            where
            for where in self._rotation.order(partitions)
            if where not in self._silent or self._silent[where].retry_s <= now_s
        ]

    def answered(self, where: TopicPartition, *, served: bool) -> None:
        """Note an answer, and whether it had something."""
        self._silent.pop(where, None)
        if served:
            self._rotation.served(where)

    def failed(self, where: TopicPartition, error: QueueError, now_s: float) -> None:
        """Let a partition rest that did not answer."""
        known = self._silent.get(where)
        pause_s = FIRST_PAUSE_S if known is None else min(LONGEST_PAUSE_S, known.pause_s * 2)
        since_s = now_s if known is None else known.since_s
        self._silent[where] = Silence(error, pause_s, now_s + pause_s, since_s)

    def silent(self, partitions: list[TopicPartition]) -> dict[TopicPartition, Silence]:
        """Return those of the partitions that did not answer last time."""
        return {where: self._silent[where] for where in partitions if where in self._silent}

    def failure(self, partitions: list[TopicPartition], since_s: float) -> QueueError | None:
        """Return the last failure of one that has not answered since a time, if there is one."""
        for silence in self.silent(partitions).values():
            if silence.since_s <= since_s:
                return silence.error
        return None
