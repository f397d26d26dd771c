"""The messages of a producer that are not settled, in a lane per partition. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.contract.errors import BufferFull, UnauthorizedException
from myqueue.contract.records import PlainRecords
from myqueue.producer.lanes import Batch, DeliverySink, Lane
from myqueue.transport.rotation import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable

    from myqueue.contract.records import Record, Records
    from myqueue.results import Delivered

OVERHEAD_BYTES = 64
"""What a message costs besides its texts, so that empty ones fill the buffer too."""
HEADER_OVERHEAD_BYTES = 6
"""What a header takes in a batch besides name and value, at most."""


def size_bytes_of(record: Record) -> int:
    """Return the bytes that a message counts for: at least those that it takes in a batch."""
    value, key, headers, _ = record
    if isinstance(value, str) and not value.isascii():
        value = value.encode()
    size_bytes = OVERHEAD_BYTES + len(value)
    if key is not None:
        size_bytes += _length_bytes(key)
    if headers:
        size_bytes += HEADER_OVERHEAD_BYTES * len(headers)
        size_bytes += sum(map(_length_bytes, headers)) + sum(map(_length_bytes, headers.values()))
    return size_bytes


def total_bytes_of(records: Records) -> int:
    """Return what messages count for together."""
    if isinstance(records, PlainRecords):
        return OVERHEAD_BYTES * len(records) + records.value_bytes
    return sum(map(size_bytes_of, records))


def _length_bytes(text: str | bytes) -> int:
    return len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode())


class Accumulator:
    """A bounded buffer of batches. Not thread-safe: its owner holds a lock.

    Args:
        buffer_bytes: most bytes of all messages that are not settled; a single message may be
            larger when there is no other.
        batch_messages: most messages of a batch that is joined here.
        batch_bytes: most bytes of such a batch when it has more than one message.
        now_s: returns the monotonic time.
        patience_s: after how long a message is given up.
    """

    def __init__(
        self,
        *,
        buffer_bytes: int,
        batch_messages: int,
        batch_bytes: int,
        now_s: Callable[[], float],
        patience_s: float,
    ) -> None:
        self._buffer_bytes = buffer_bytes
        self._batch_messages = batch_messages
        self._batch_bytes = batch_bytes
        self._now_s = now_s
        self._patience_s = patience_s
        self._lanes: dict[TopicPartition, Lane] = {}
        self._ready: dict[TopicPartition, Lane] = {}
        """Lanes to look at, the one that waits longest first."""
        self._holding: dict[TopicPartition, Lane] = {}
        """Lanes that may hold what waits for callers that come back."""
        self.held_bytes = 0

    def has_room(self, size_bytes: int) -> bool:
        """Return True when so many bytes may be added."""
        return not self.held_bytes or self.held_bytes + size_bytes <= self._buffer_bytes

    def no_room(self, size_bytes: int, waited_ms: int) -> BufferFull:
        """Return the error for so many bytes, for which there was no room for so long."""
        return BufferFull(
            f"{self.held_bytes} of {self._buffer_bytes} bytes are held; no room for "
            f"{size_bytes} within {waited_ms} ms"
        )

    @property
    def held_until_s(self) -> float | None:
        """Monotonic time at which `take` is to be called, whatever comes; None for never."""
        times = [lane.held_until_s for lane in self._holding.values()]
        return min((one for one in times if one is not None), default=None)

    def put(
        self,
        where: TopicPartition,
        record: Record,
        future: DeliverySink[Delivered],
        *,
        has_caller: bool = False,
    ) -> bool | None:
        """Add a message behind the others of its partition.

        Args:
            where: topic and partition.
            record: the message.
            future: gets its outcome.
            has_caller: a thread waits for the outcome, and sends nothing else until then.

        Returns:
            True when a batch may be sent; None when there was no room.
        """
        size_bytes = size_bytes_of(record)
        held_bytes = self.held_bytes + size_bytes
        if held_bytes > self._buffer_bytes and self.held_bytes:
            return None
        self.held_bytes = held_bytes
        lane = self._lanes.get(where) or self._lane(where)
        lane.put(record, future, size_bytes, has_caller=has_caller)
        if lane.may_send:
            self._ready[where] = lane
            return True
        return False

    def is_idle(self, where: TopicPartition) -> bool:
        """Return True when nothing of a partition waits or is in flight."""
        lane = self._lanes.get(where)
        return lane is None or lane.is_idle

    def put_whole(self, batch: Batch) -> None:
        """Add a batch that is sent as it is."""
        lane = self._lane(batch.where)
        lane.put_whole(batch)
        self.held_bytes += batch.size_bytes
        if lane.may_send:
            self._ready[batch.where] = lane

    def put_alone(self, batch: Batch, producer_id: int) -> bool:
        """Stamp a batch at once when nothing else of its partition waits or is in flight.

        Returns:
            False when something does; the batch was not added then.
        """
        lane = self._lanes.get(batch.where) or self._lane(batch.where)
        if not lane.is_idle:
            return False
        lane.stamp(batch, producer_id)
        self.held_bytes += batch.size_bytes
        return True

    def take(self, producer_id_of: Callable[[str], int]) -> list[Batch]:
        """Stamp and return every batch that may be sent, partitions in turn.

        A topic that the producer is not registered for any more has id 0: what waited for it goes
        out like the rest and fails there, where its futures can be told.
        """
        self._end_holds()
        taken: list[Batch] = []
        while self._ready:
            where, lane = next(iter(self._ready.items()))
            del self._ready[where]
            try:
                producer_id = producer_id_of(where[0])
            except UnauthorizedException:
                producer_id = 0
            while lane.may_send:
                taken.append(lane.take(producer_id))
        return taken

    def lane(self, batch: Batch) -> Lane:
        """Return the lane of a batch."""
        return self._lanes[batch.where]

    def settled(self, batch: Batch) -> bool:
        """Release the bytes of a settled batch; its lane knows of it already.

        Returns:
            True when another batch may be sent.
        """
        batch.settled = True
        self.held_bytes -= batch.size_bytes
        return not self._lanes[batch.where].is_idle and self.look_at(batch)

    def look_at(self, batch: Batch) -> bool:
        """Return True when another batch of the same partition may be sent."""
        lane = self._lanes[batch.where]
        if lane.may_send:
            self._ready[batch.where] = lane
            return True
        if lane.held_until_s is not None:
            self._holding[batch.where] = lane
        return False

    def held(self) -> list[Batch]:
        """Return every batch that is not settled."""
        return [batch for lane in self._lanes.values() for batch in lane.held]

    def give_up(self) -> tuple[list[Batch], list[Batch]]:
        """Remove and return the batches that wait, and return those in flight, which stay."""
        waiting = [batch for lane in self._lanes.values() for batch in lane.give_up()]
        out = self.held()
        self.held_bytes = sum(batch.size_bytes for batch in out)
        self._ready.clear()
        return waiting, out

    def _end_holds(self) -> None:
        """Have those lanes looked at whose hold is over."""
        for where, lane in list(self._holding.items()):
            if lane.end_hold():
                del self._holding[where]
                if lane.may_send:
                    self._ready[where] = lane

    def _lane(self, where: TopicPartition) -> Lane:
        lane = self._lanes.get(where)
        if lane is None:
            lane = self._lanes[where] = Lane(
                where,
                batch_messages=self._batch_messages,
                batch_bytes=self._batch_bytes,
                now_s=self._now_s,
                patience_s=self._patience_s,
            )
        return lane
