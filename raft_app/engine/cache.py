"""The newest batches of each replica, kept in memory for consumers that keep up.

A replica's tail is contiguous and ends at its newest applied batch, so a read from any offset in it
needs no disk. Both limits, of one and of all, and the log start cut from the old end; what is cut
gives its memory back at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http_base.memory_budget import MemoryShare
    from raft_app.storage.protocol import StoredBatch


class Tail:
    """The newest applied batches of one replica, ascending and contiguous."""

    def __init__(self) -> None:
        self._batches: list[StoredBatch | None] = []
        """None in the slots before `_start`."""
        self._base_offsets: list[int] = []
        self._start = 0
        """Position of the oldest batch still kept; the slots before it are reclaimed in steps."""
        self.size_bytes = 0
        self.log_start_offset = 0
        """Up to where it was cut."""

    def __len__(self) -> int:
        return len(self._batches) - self._start

    def append(self, batch: StoredBatch) -> None:
        """Add the batch that follows the newest one; a gap starts the tail anew."""
        newest = self._batches[-1] if self._batches else None
        if newest and newest.base_offset + newest.record_count != batch.base_offset:
            self.clear()
        self._batches.append(batch)
        self._base_offsets.append(batch.base_offset)
        self.size_bytes += len(batch.data)

    def drop_oldest(self) -> int:
        """Forget the oldest batch and return its bytes."""
        size = len(self._at(self._start).data)
        self._batches[self._start] = None
        self._start += 1
        self.size_bytes -= size
        if self._start * 2 > len(self._batches):
            del self._batches[: self._start]
            del self._base_offsets[: self._start]
            self._start = 0
        return size

    def cut(self, log_start_offset: int) -> int:
        """Forget the batches that end at or below an offset and return their bytes."""
        self.log_start_offset = log_start_offset
        size = 0
        while len(self):
            oldest = self._at(self._start)
            if oldest.base_offset + oldest.record_count > log_start_offset:
                break
            size += self.drop_oldest()
        return size

    def clear(self) -> None:
        """Forget everything."""
        self._batches.clear()
        self._base_offsets.clear()
        self._start = 0
        self.size_bytes = 0

    def read(self, offset: int, high_watermark: int, max_bytes: int) -> list[StoredBatch] | None:
        """Return the batches from the one that contains `offset`, or None when it is not here.

        Args:
            offset: of the first message wanted, below `high_watermark`.
            high_watermark: no batch at or above it is returned.
            max_bytes: of all batches together; one batch is returned however long it is.
        """
        position = bisect_right(self._base_offsets, offset, lo=self._start) - 1
        if position < self._start:
            return None
        found: list[StoredBatch] = []
        size = 0
        for number in range(position, len(self._batches)):
            batch = self._at(number)
            size += len(batch.data)
            if batch.base_offset >= high_watermark or (found and size > max_bytes):
                break
            found.append(batch)
        return found

    def _at(self, position: int) -> StoredBatch:
        batch = self._batches[position]
        assert batch is not None, position
        return batch


class TailCache:
    """The tails of all replicas of a broker, by group id, within one limit."""

    def __init__(self, *, replica_bytes: int, total_bytes: int, share: MemoryShare) -> None:
        """Make an empty cache.

        Args:
            replica_bytes: most bytes of one tail, unless it is one batch.
            total_bytes: most bytes of all.
            share: counts them, and bounds them too.
        """
        self._share = share
        self._replica_bytes = replica_bytes
        self._total_bytes = min(total_bytes, self._share.limit_bytes)
        self._tails: OrderedDict[int, Tail] = OrderedDict()
        """By group id; the replica that applied something last stands last."""
        self.size_bytes = 0

    def append(self, group_id: int, batch: StoredBatch) -> None:
        """Add the newest batch that a replica applied and enforce the limits."""
        tail = self._tails.get(group_id)
        if tail is None:
            tail = self._tails[group_id] = Tail()
        before = tail.size_bytes
        tail.append(batch)
        self.size_bytes += tail.size_bytes - before
        self._tails.move_to_end(group_id)
        while tail.size_bytes > self._replica_bytes and len(tail) > 1:
            self.size_bytes -= tail.drop_oldest()
        while self.size_bytes > self._total_bytes and self._tails:
            self._shrink_coldest()
        self._count()

    def read(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[StoredBatch] | None:
        """Return batches as `Tail.read` does; None when they must come from disk."""
        tail = self._tails.get(group_id)
        return tail.read(offset, high_watermark, max_bytes) if tail else None

    def cut(self, group_id: int, log_start_offset: int) -> None:
        """Drop what a replica no longer stores: the batches that end at or below an offset."""
        tail = self._tails.get(group_id)
        if tail is not None and log_start_offset > tail.log_start_offset:
            self.size_bytes -= tail.cut(log_start_offset)
            self._drop_if_empty(group_id, tail)
            self._count()

    def forget(self, group_id: int) -> None:
        """Drop the tail of a replica that is gone, or whose log was replaced."""
        tail = self._tails.pop(group_id, None)
        if tail is not None:
            self.size_bytes -= tail.size_bytes
            self._count()

    def clear(self) -> None:
        """Drop all tails."""
        self._tails.clear()
        self.size_bytes = 0
        self._count()

    def _count(self) -> None:
        """Tell the budget what is kept now."""
        self._share.move(self.size_bytes - self._share.used_bytes)

    def _shrink_coldest(self) -> None:
        """Drop the oldest batch of the replica that applied nothing for the longest time."""
        group_id, tail = next(iter(self._tails.items()))
        self.size_bytes -= tail.drop_oldest()
        self._drop_if_empty(group_id, tail)

    def _drop_if_empty(self, group_id: int, tail: Tail) -> None:
        if not len(tail):
            del self._tails[group_id]
