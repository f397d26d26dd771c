"""One partition in memory: what a leader decides, without replication."""

from __future__ import annotations

from collections import OrderedDict, deque

from myqueue.errors import OutOfOrderSequence, ProducerFenced, UnknownProducer
from myqueue.records import Record, decode_records, encode_batch, read_header


class PartitionTwin:
    """Batches, cursors, and what recognises repetitions."""

    def __init__(self, leader: str) -> None:
        self.leader = leader
        self.batches: list[tuple[int, bytes]] = []
        self.records: list[Record] = []
        self.cursors: dict[int, int] = {}
        self._producers: dict[int, tuple[int, int, deque[tuple[int, int]]]] = {}
        self._pops: dict[int, OrderedDict[str, tuple[int, int]]] = {}

    @property
    def values(self) -> list[str | bytes]:
        return [record.value for record in self.records]

    def append(self, batch: bytes) -> int:
        """Append a batch, or find it again; return its base offset."""
        header = read_header(batch)
        if header.sequenced:
            known = self._find(header.producer_id, header.producer_epoch, header.base_sequence)
            if known is not None:
                return known
        base_offset = len(self.records)
        self.batches.append((base_offset, batch))
        self.records += decode_records(batch)
        if header.sequenced:
            entry = self._producers.get(header.producer_id)
            last: deque[tuple[int, int]] = deque(maxlen=5)
            if entry is not None and entry[0] == header.producer_epoch:
                last = entry[2]
            last.append((header.base_sequence, base_offset))
            following = header.base_sequence + header.record_count
            self._producers[header.producer_id] = (header.producer_epoch, following, last)
        return base_offset

    def put(self, *values: str | bytes) -> None:
        """Append messages of nobody."""
        self.append(encode_batch([Record(value) for value in values]))

    def forget_producers(self) -> None:
        self._producers.clear()

    def pop(self, consumer_id: int, max_messages: int, request_id: str | None) -> range:
        """Move the cursor, or find an earlier pop again; return the offsets passed over."""
        remembered = self._pops.setdefault(consumer_id, OrderedDict())
        if request_id in remembered:
            return range(*remembered[request_id])
        start = self.cursors.setdefault(consumer_id, 0)
        end = min(len(self.records), start + max_messages)
        if end > start:
            self.cursors[consumer_id] = end
            if request_id is not None:
                remembered[request_id] = (start, end)
                if len(remembered) > 16:
                    remembered.popitem(last=False)
        return range(start, end)

    def size(self, consumer_id: int) -> int:
        return len(self.records) - self.cursors.setdefault(consumer_id, 0)

    def _find(self, producer_id: int, epoch: int, base_sequence: int) -> int | None:
        """Return the base offset of a batch that is here already."""
        entry = self._producers.get(producer_id)
        if entry is None or epoch > entry[0]:
            if base_sequence:
                error = UnknownProducer if entry is None else OutOfOrderSequence
                raise error(f"sequence {base_sequence} of producer {producer_id} comes too early")
            return None
        if epoch < entry[0]:
            raise ProducerFenced(f"epoch {epoch} is below {entry[0]}")
        for known_sequence, base_offset in entry[2]:
            if known_sequence == base_sequence:
                return base_offset
        if base_sequence != entry[1]:
            raise OutOfOrderSequence(f"sequence {base_sequence} instead of {entry[1]}")
        return None
