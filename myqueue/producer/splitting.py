"""Splits the messages of one call into as many batches as they need. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.records import (
    HEADER_BYTES,
    MAX_BATCH_BYTES,
    MAX_RECORDS,
    PlainRecords,
    Record,
    Records,
)
from myqueue.producer.accumulator import size_bytes_of, total_bytes_of
from myqueue.producer.options import Serializer, serialized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myqueue.producer.lanes import Batch

ARRAY_HEAD_BYTES = 5
"""What precedes the messages in a payload, at most."""
WHOLE_BYTES_MAX = MAX_BATCH_BYTES - HEADER_BYTES - ARRAY_HEAD_BYTES
"""Most bytes that the messages of a batch count for; each counts for at least what it takes."""
NOT_SEVERAL = (str, bytes, bytearray, memoryview, Record, Mapping)
"""Single messages, and what is none, that can be iterated over all the same."""


_PLAIN = frozenset((str, bytes))


def portions(
    messages: Iterable[Any], serialize: Serializer | None = None
) -> Iterator[list[str | bytes | Record]]:
    """Yield messages in their order, about as many at a time as a batch takes.

    Args:
        messages: the messages.
        serialize: turns the value of each into a text or bytes.

    Raises:
        InvalidRequest: these are not several messages.
    """
    if isinstance(messages, NOT_SEVERAL) or not isinstance(messages, Iterable):
        raise InvalidRequest(
            f"messages must be a list of messages, or another iterable, not one"
            f" {type(messages).__name__}; enqueue and send take a single one",
            field="messages",
        )
    if serialize is not None:
        yield from _of_one_by_one(serialized(messages, serialize))
    elif isinstance(messages, list):
        for start in range(0, len(messages), MAX_RECORDS):
            part = messages[start : start + MAX_RECORDS]
            is_plain = _PLAIN.issuperset(map(type, part))
            if is_plain and sum(map(len, part)) < MAX_BATCH_BYTES:
                yield part
            else:
                yield from _of_one_by_one(part)
    else:
        yield from _of_one_by_one(messages)


def _of_one_by_one(messages: Iterable[Any]) -> Iterator[list[str | bytes | Record]]:
    portion: list[str | bytes | Record] = []
    size_bytes = 0
    for item in messages:
        portion.append(item)
        # Most are texts or bytes; a call for each would cost as much as all the rest of this.
        size_bytes += len(item) if type(item) in _PLAIN else _about_bytes(item)
        if len(portion) == MAX_RECORDS or size_bytes >= MAX_BATCH_BYTES:
            yield portion
            portion, size_bytes = [], 0
    if portion:
        yield portion


def _about_bytes(item: Any) -> int:
    value = item.value if isinstance(item, Record) else item
    return len(value) if isinstance(value, str | bytes | bytearray | memoryview) else 0


class Group:
    """Messages of one partition that become one batch."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.records: Records = []
        self.size_bytes = 0
        """What they count for in the producer's buffer."""

    def has_room(self, count: int, size_bytes: int) -> bool:
        """Return True when so many messages, that count for so many bytes, fit too."""
        fits = self.size_bytes + size_bytes <= WHOLE_BYTES_MAX
        return fits and len(self.records) + count <= MAX_RECORDS

    def add(self, records: Records, size_bytes: int) -> None:
        """Put messages behind the others."""
        if not self.records and isinstance(records, PlainRecords):
            self.records = records
        elif isinstance(self.records, list):
            self.records += records
        else:
            self.records = [*self.records, *records]
        self.size_bytes += size_bytes


class Splitting:
    """Groups messages by partition and closes a group when it is as large as a batch may be.

    Args:
        held_bytes_max: most bytes that wait for more of their partitions.
    """

    def __init__(self, *, held_bytes_max: int) -> None:
        self._held_bytes_max = held_bytes_max
        self._open: dict[int, Group] = {}
        self._full: list[Group] = []

    def add(self, partition: int, records: Records) -> None:
        """Take messages of a partition, behind those that were taken before."""
        group = self._open.setdefault(partition, Group(partition))
        total_bytes = total_bytes_of(records)
        if group.has_room(len(records), total_bytes):
            group.add(records, total_bytes)
            return
        for record in records:
            size_bytes = size_bytes_of(record)
            if group.records and not group.has_room(1, size_bytes):
                self._full.append(group)
                self._open[partition] = group = Group(partition)
            group.add([record], size_bytes)

    def full(self) -> list[Group]:
        """Return the groups that take no more, and all when too much waits."""
        if sum(group.size_bytes for group in self._open.values()) > self._held_bytes_max:
            return self.rest()
        full, self._full = self._full, []
        return full

    def rest(self) -> list[Group]:
        """Return all groups that were not returned yet, those of a partition in order."""
        rest = [*self._full, *(self._open[partition] for partition in sorted(self._open))]
        self._full, self._open = [], {}
        return rest


class CallBatches:
    """The batches of one call, and how many bytes of them are in flight.

    Args:
        buffer_bytes: most bytes of them in flight at once.
    """

    def __init__(self, buffer_bytes: int) -> None:
        self._buffer_bytes = buffer_bytes
        self._out: deque[Batch] = deque()
        self._out_bytes = 0
        self.futures: list[Any] = []
        """Result or failure of each batch, in their order."""
        self.has_failed = False
        """True once one of them is known to have failed."""

    def add(self, batches: Iterable[Batch]) -> None:
        """Count batches that are sent."""
        for batch in batches:
            self._out.append(batch)
            self._out_bytes += batch.size_bytes
            self.futures.append(batch.whole)

    def to_wait_for(self, size_bytes: int) -> Any:
        """Return the future to wait for before further bytes are sent; None when they may be."""
        while self._out:
            future: Any = self._out[0].whole
            if not future.done():
                return future if self._out_bytes + size_bytes > self._buffer_bytes else None
            self._out_bytes -= self._out.popleft().size_bytes
            self.has_failed = self.has_failed or future.exception() is not None
        return None
