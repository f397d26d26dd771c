"""One partition in memory: it decides as a leader does, without a log or followers."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from myqueue.contract.errors import (
    CorruptBatch,
    CursorMoved,
    IllegalGeneration,
    InvalidRequest,
    OffsetOutOfRange,
)
from myqueue.contract.records import (
    Record,
    decode_rows,
    encode_batch,
    read_header,
    to_records,
)
from myqueue.contract.rules.group_makers import GroupMakers, GroupRoom
from myqueue.contract.rules.offset_moves import GroupPlaceBefore, wanted_offset
from myqueue.contract.rules.producers import ProducerTable, follows, out_of_order
from myqueue.contract.rules.request_table import POP_REQUESTS_REMEMBERED, RequestTable
from myqueue.contract.rules.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myqueue.contract.group_inputs import GroupOffsetsReset, OffsetsCommit
    from myqueue.contract.records import BatchHeader

COUNTED = ("visible", "in_flight", "delayed")


class MemoryPartition:
    """Batches, cursors, groups, and the tables that recognise repetitions.

    Args:
        leader: address of the broker that leads it.
        group_id: tells it from one of an earlier topic of the same name.
    """

    def __init__(self, leader: str, group_id: int = 0) -> None:
        self.leader = leader
        self.group_id = group_id
        self.batches: list[tuple[int, bytes]] = []
        """(base offset, batch), oldest first."""
        self.records: list[Record | None] = []
        """None in place of each that nobody can decode."""
        self.append_times: list[int] = []
        """When each was appended, milliseconds since 1970; never goes back."""
        self.cursors: dict[int, int] = {}
        self.works: dict[str, Work] = {}
        """The state of queue workers, by group."""
        self.group_offsets: dict[str, tuple[int, int]] = {}
        """Group -> (generation, committed offset)."""
        self._makers = GroupMakers()
        self._origins = itertools.count(1)
        self._producers = ProducerTable()
        self._pops = RequestTable(POP_REQUESTS_REMEMBERED)

    @property
    def values(self) -> list[str | bytes]:
        """The messages' values in the order of offsets."""
        return [record.value for record in self.records if record is not None]

    def append(self, batch: bytes, now_ms: int = 0) -> int:
        """Append a batch, or recognise it as a repetition.

        Returns:
            Its base offset.

        Raises:
            UnknownProducer | ProducerFenced | OutOfOrderSequence: epoch or sequence do not follow.
            CorruptBatch: not every reader could read it; see `decode_rows`.
        """
        header = read_header(batch)
        producer_id, epoch = header.producer_id, header.producer_epoch
        known = self._producers.get(producer_id)
        if header.sequenced and not follows(header, known):
            assert known is not None, "the first batch of a producer follows"
            found = known.find(header)
            if found is None:
                raise out_of_order(header, known)
            return found
        records = to_records(decode_rows(batch, header, is_new=True), header)
        base_offset = self._store(batch, records, now_ms)
        if header.sequenced:
            row = (header.base_sequence, header.record_count, base_offset)
            self._producers.append(producer_id, epoch, row)
        return base_offset

    def plant(self, batch: bytes, now_ms: int = 0) -> int:
        """Append a batch without a look into it, as earlier versions did; return its base offset.

        Raises:
            CorruptBatch: it is damaged: its header or its checksum is wrong.
        """
        header = read_header(batch)
        return self._store(batch, _records_of(batch, header), now_ms)

    def _store(self, batch: bytes, records: Sequence[Record | None], now_ms: int) -> int:
        base_offset = len(self.records)
        self.batches.append((base_offset, bytes(batch)))
        self.records += records
        last_ms = self.append_times[-1] if self.append_times else 0
        self.append_times += [max(now_ms, last_ms)] * len(records)
        return base_offset

    def found(self, offsets: range) -> list[tuple[int, Record]]:
        """Return the messages at these offsets that can be decoded, each with its own."""
        numbered = ((offset, self.records[offset]) for offset in offsets)
        return [(offset, record) for offset, record in numbered if record is not None]

    def run_end(self, offset: int) -> int:
        """Return the offset behind those from `offset` on that can, or cannot, be decoded alike."""
        end = offset
        while end < len(self.records) and (self.records[end] is None) == (
            self.records[offset] is None
        ):
            end += 1
        return end

    def put(self, *values: str | bytes) -> None:
        """Append messages without a producer."""
        self.append(encode_batch([Record(value) for value in values]))

    def forget(self, client_id: int) -> None:
        """Drop the state of a producer or a consumer."""
        self._producers.remove(client_id)
        self._pops.forget_client(client_id)
        self.cursors.pop(client_id, None)

    def pop(self, consumer_id: int, max_messages: int, request_id: str | None) -> range:
        """Move the cursor, or recognise a repetition; return the offsets passed over.

        What cannot be decoded is among them and no message.
        """
        digest = (request_id or "").encode()
        remembered = self._pops.get((consumer_id, digest))
        if remembered is not None:
            return range(*remembered[:2])
        start = self.cursors.setdefault(consumer_id, 0)
        end, found = start, 0
        while end < len(self.records) and found < max_messages:
            found += self.records[end] is not None
            end += 1
        if end > start:
            self.cursors[consumer_id] = end
            if digest and found:
                self._pops.remember(consumer_id, digest, (start, end, 0))
        return range(start, end)

    def remembers(self, consumer_id: int, request_id: str | None) -> bool:
        """Tell whether a pop with this request id was done here."""
        return (consumer_id, (request_id or "").encode()) in self._pops

    def reset(self, consumer_id: int, offset: int, expected: int | None) -> None:
        """Move a cursor.

        Raises:
            OffsetOutOfRange: there is no such offset.
            CursorMoved: the cursor is not at `expected`.
        """
        self.check_offset(offset)
        stands = self.cursors.setdefault(consumer_id, 0)
        if expected not in (None, stands):
            raise CursorMoved(f"the cursor is at {stands}, not at {expected}", offset=stands)
        self.cursors[consumer_id] = offset

    def check_offset(self, offset: int) -> None:
        """Raise OffsetOutOfRange when there is no such offset."""
        end = len(self.records)
        if not 0 <= offset <= end:
            raise OffsetOutOfRange(
                f"offset {offset} is outside 0 to {end}", log_start_offset=0, high_watermark=end
            )

    def offset_by_time(self, timestamp: int) -> int:
        """Return the first offset that was appended at or after a time."""
        return bisect_left(self.append_times, timestamp)

    def size(self, consumer_id: int) -> int:
        """Return how many messages are left for a consumer."""
        return len(self.records) - self.cursors.setdefault(consumer_id, 0)

    # Consumer groups

    def knows_group(self, name: str) -> bool:
        """Tell whether the partition knows a group of this name, of members or of workers."""
        return name in self.group_offsets or name in self.works

    def group_place(self, name: str, now_ms: int) -> dict[str, Any]:
        """Return offset, lag, counts and age of a group; the first are None for an unknown one."""
        end, work = len(self.records), self.works.get(name)
        offset, settled_above = None, 0
        counts = dict.fromkeys(("unsettled", "dead", *COUNTED), 0)
        if work is not None:
            offset, settled_above = work.offset, work.settled_above
            counts = {"unsettled": len(work.unsettled), **work.counts(now_ms, end=end)._asdict()}
        elif name in self.group_offsets:
            offset = self.group_offsets[name][1]
        lag = None if offset is None else end - offset - settled_above
        place = {"offset": offset, "high_watermark": end, "lag": lag, **counts}
        if lag is not None:
            place["age_ms"] = max(0, now_ms - self.append_times[offset or 0]) if lag else 0
        return place

    def wanted(self, name: str, reset: GroupOffsetsReset) -> tuple[int | None, int]:
        """Return where a group is, None where it is not yet, and where a reset means it to be."""
        place = GroupPlaceBefore(self.group_place(name, 0)["offset"], 0, len(self.records))
        at_time = None if reset.timestamp is None else self.offset_by_time(reset.timestamp)
        return place.offset, wanted_offset(reset, place, at_time=at_time)

    def commit(self, commit: OffsetsCommit, client_id: int) -> int:
        """Note a group's generation, and commit its offset if one is given; return the offset.

        Raises:
            IllegalGeneration: a later generation is known.
            OffsetOutOfRange: there is no such offset.
            InvalidRequest: workers of the group have messages out.
            TooManyGroups: there is no room for another group.
        """
        name, is_new = commit.group, not self.knows_group(commit.group)
        generation, offset = self.group_offsets.get(name, (0, None))
        if (work := self.works.get(name)) is not None:
            offset = work.offset
            if work.is_busy:
                raise InvalidRequest(f"workers of group {name!r} have messages out", field="group")
        if commit.generation < generation:
            raise IllegalGeneration(
                f"generation {commit.generation} of group {name!r} is over", generation=generation
            )
        if commit.offset is not None:
            self.check_offset(commit.offset)
            offset = commit.offset
        self._check_group_room(name, client_id)
        if offset is None:
            offset = len(self.records) if commit.start == "latest" else 0
        self.works.pop(name, None)
        self.group_offsets[name] = (commit.generation, offset)
        self._makers.used(name, client_id, makes=is_new, lasts=True)
        return offset

    def work_of(self, name: str, *, start: str) -> Work:
        """Return the work of a group, or a new one, which only `begin_work` keeps.

        Raises:
            InvalidRequest: members share the group.
        """
        generation, offset = self.group_offsets.get(name, (0, None))
        if generation:
            raise InvalidRequest(f"group {name!r} is used by consumers", field="group")
        if name in self.works:
            return self.works[name]
        begin = len(self.records) if start == "latest" else 0
        return Work(next(self._origins), begin if offset is None else offset)

    def begin_work(self, name: str, *, start: str, client_id: int) -> Work:
        """Return the work of a group, kept from now on.

        Raises:
            InvalidRequest: members share the group.
            TooManyGroups: there is no room for another group.
        """
        work, is_new = self.work_of(name, start=start), not self.knows_group(name)
        self._check_group_room(name, client_id)
        self.group_offsets.pop(name, None)
        self.works[name] = work
        self._makers.used(name, client_id, makes=is_new, lasts=True)
        return work

    def forget_group(self, name: str) -> None:
        """Drop a group; an unknown one is no error."""
        self._makers.forget(name)
        self.group_offsets.pop(name, None)
        self.works.pop(name, None)

    def _check_group_room(self, name: str, client_id: int) -> None:
        if not self.knows_group(name):
            known = len(self.group_offsets) + len(self.works)
            own = self._makers.count(client_id)
            GroupRoom().check(name, client_id, known=known, own=own)

    def read(self, offset: int, max_bytes: int) -> list[tuple[int, bytes]]:
        """Return batches from the one that has the offset, at least one if there is one."""
        wanted: list[tuple[int, bytes]] = []
        size = 0
        for index, (base_offset, batch) in enumerate(self.batches):
            last = index + 1 == len(self.batches)
            following = len(self.records) if last else self.batches[index + 1][0]
            if following <= offset:
                continue
            if wanted and size + len(batch) > max_bytes:
                break
            wanted.append((base_offset, batch))
            size += len(batch)
        return wanted


def _records_of(batch: bytes, header: BatchHeader) -> Sequence[Record | None]:
    try:
        return to_records(decode_rows(batch, header), header)
    except CorruptBatch:
        return [None] * header.record_count
