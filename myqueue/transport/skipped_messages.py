"""Messages that a reader does not get: counted by partition, and told to the program's log."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from myqueue.transport.complaints import warn

if TYPE_CHECKING:
    from myqueue.transport.rotation import TopicPartition

CORRUPT = "%d messages of %s/%d cannot be decoded by anybody and were stepped over%s"
"""The text for what is stored damaged."""
MISSED = "retention deleted %d messages of %s/%d before group %s had dealt with them"
"""The text for what a group came too late for."""
MISSED_ALONE = "retention deleted %d messages of %s/%d before this consumer read them"
"""The text for what a consumer with its own cursors came too late for."""


class SkippedMessages:
    """The counts of one reader, for one reason. Safe from several threads.

    Args:
        text: the warning; takes the number, topic, partition and what `add` is given besides.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._lock = threading.Lock()
        self._counts: dict[TopicPartition, int] = {}

    def add(self, where: TopicPartition, count: int, *more: object) -> None:
        """Count messages and warn of them; none is no reason to."""
        if count <= 0:
            return
        with self._lock:
            self._counts[where] = self._counts.get(where, 0) + count
        warn(self._text, count, *where, *more)

    def by_partition(self) -> dict[TopicPartition, int]:
        """Return how many there were, without the partitions that have none."""
        with self._lock:
            return dict(self._counts)

    def total(self) -> int:
        """Return how many there were in all partitions."""
        return sum(self.by_partition().values())
