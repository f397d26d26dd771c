"""Decoded batches that consumers are reading, so that a pop of one message decodes nothing."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from http_base.memory_budget import MemoryShare
    from myqueue.contract.records import Record


class DecodedBatch(NamedTuple):
    """A committed batch, which never changes."""

    base_offset: int
    records: list[Record]
    size_bytes: int
    """About what its messages take in memory."""

    @property
    def end(self) -> int:
        """Offset after its last message."""
        return self.base_offset + len(self.records)


class DecodeCache:
    """The most recently used batches, bounded in number and bytes."""

    def __init__(self, *, batches_max: int, bytes_max: int, share: MemoryShare) -> None:
        """Make an empty cache.

        Args:
            batches_max: most batches; a look-up may look at each.
            bytes_max: most bytes that all of them take, decoded.
            share: counts them, and half of it bounds them too.
        """
        self._share = share
        self._batches_max = batches_max
        self._bytes_max = min(bytes_max, self._share.limit_bytes // 2)
        self._batches: OrderedDict[tuple[int, int], DecodedBatch] = OrderedDict()
        self.size_bytes = 0
        """Bytes of what is kept."""

    def find(self, group_id: int, offset: int) -> DecodedBatch | None:
        """Return the batch that has the message at `offset`, None when it is not cached."""
        for key, batch in self._batches.items():
            if key[0] == group_id and batch.base_offset <= offset < batch.end:
                self._batches.move_to_end(key)
                return batch
        return None

    def keep(self, group_id: int, batch: DecodedBatch) -> None:
        """Keep a batch; the least recently used ones make room."""
        key = (group_id, batch.base_offset)
        if key in self._batches or batch.size_bytes > self._bytes_max:
            return
        before = self.size_bytes
        self._batches[key] = batch
        self.size_bytes += batch.size_bytes
        while len(self._batches) > self._batches_max or self.size_bytes > self._bytes_max:
            _, dropped = self._batches.popitem(last=False)
            self.size_bytes -= dropped.size_bytes
        self._share.move(self.size_bytes - before)

    def clear(self) -> None:
        """Drop all batches."""
        self._batches.clear()
        self._share.move(-self.size_bytes)
        self.size_bytes = 0
