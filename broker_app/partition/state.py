"""The applied state of one partition: offsets, cursors, groups, their work, producers, clock.

Its methods are what the entries of the log mean. Each replica applies the same entries in the same
order, so nothing here may depend on anything but the entries: no clock, no limit, no role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from broker_app.partition.commands import (
    KEEPS_ALL,
    AppendResult,
    CommitOffsets,
    CommitRefusal,
    CommitResult,
    CursorResult,
    DeadCopied,
    ExpireWork,
    ForgetClient,
    ForgetGroup,
    ForgetIdle,
    OpenCursor,
    PopMessages,
    PopResult,
    ReceiveMessages,
    ReceiveResult,
    ResetCursor,
    SetRetention,
    SettleMessages,
    Start,
    Truncate,
    TruncateResult,
)
from broker_app.partition.groups import ConsumerGroup, ConsumerGroups, refusal
from broker_app.partition.limits import PRODUCE_REQUESTS_REMEMBERED
from broker_app.partition.speculation import is_deduplicated
from broker_app.partition.work import WorkTable
from myqueue.contract.records import HEADER_BYTES
from myqueue.contract.rules.group_makers import GroupMakers, MakerRow
from myqueue.contract.rules.producers import BatchRow, ProducerState, ProducerTable
from myqueue.contract.rules.request_table import POP_REQUESTS_REMEMBERED, RequestTable
from myqueue.contract.rules.work import WorkRow
from raft_app.size_marks import Mark, SizeMarks

if TYPE_CHECKING:
    from broker_app.partition.commands import Command, GroupCommand
    from myqueue.contract.records import BatchHeader

SNAPSHOT_VERSION = 4
"""First byte of every snapshot. Versions 2, without consumer groups, and 3, without their makers,
are still read."""

_ProducerRow = tuple[int, int, int, int, tuple[BatchRow, ...]]
"""(producer id, stamp, epoch, next sequence, batches)."""
_RequestRow = tuple[int, bytes, int, int, int, int]
"""(client id, digest, stamp, first offset, offset after the last, missed before)."""


class _Snapshot2(Struct, array_like=True):
    log_start_offset: int
    next_offset: int
    last_timestamp: int
    clock_ms: int
    cursors: list[tuple[int, int]]
    producers: list[_ProducerRow]
    produce_requests: list[_RequestRow]
    pop_requests: list[_RequestRow]
    retention: SetRetention
    sizes: tuple[int, int, list[Mark]]


class _Snapshot3(_Snapshot2, array_like=True):
    groups: list[tuple[str, ConsumerGroup]]
    works: list[tuple[str, WorkRow]]


class _Snapshot(_Snapshot3, array_like=True):
    makers: list[MakerRow]


_encoder = msgspec.msgpack.Encoder()
_decoders: dict[bytes, msgspec.msgpack.Decoder[Any]] = {
    b"\x02": msgspec.msgpack.Decoder(_Snapshot2),
    b"\x03": msgspec.msgpack.Decoder(_Snapshot3),
    bytes([SNAPSHOT_VERSION]): msgspec.msgpack.Decoder(_Snapshot),
}


class PartitionData:
    """The state after applying a prefix of the log."""

    def __init__(self) -> None:
        self.log_start_offset = 0
        """Oldest offset still stored."""
        self.next_offset = 0
        """The high watermark: offset after the last applied message."""
        self.last_timestamp = 0
        """Highest append timestamp so far, milliseconds since 1970."""
        self.clock_ms = 0
        """The partition clock: time during which a leader led, as carried in commands."""
        self.cursors: dict[int, int] = {}
        """Consumer id -> next offset; may lie below the log start."""
        self.groups = ConsumerGroups()
        """Those that workers do not use."""
        self.producers = ProducerTable()
        self.produce_requests = RequestTable(PRODUCE_REQUESTS_REMEMBERED)
        self.pop_requests = RequestTable(POP_REQUESTS_REMEMBERED)
        self.works = WorkTable()
        """What the groups that workers use have out."""
        self.makers = GroupMakers()
        """Of all groups, used by workers or not."""
        self.retention = KEEPS_ALL
        """How long and how much is kept."""
        self.sizes = SizeMarks()
        """Bytes of the batches behind some offsets."""

    def cursor(self, consumer_id: int) -> int:
        """Return the next offset of a consumer; one without a cursor begins at the log start."""
        return max(self.cursors.get(consumer_id, 0), self.log_start_offset)

    def missed(self, consumer_id: int) -> int:
        """Return how many messages retention deleted before a consumer popped them."""
        return max(0, self.log_start_offset - self.cursors.get(consumer_id, self.log_start_offset))

    def knows_group(self, name: str) -> bool:
        """Tell whether there is a consumer group of a name, used by workers or not."""
        return name in self.groups or name in self.works

    def append(self, header: BatchHeader, timestamp: int) -> AppendResult:
        """Append a batch at the next offset."""
        base_offset, count = self.next_offset, header.record_count
        self.next_offset = base_offset + count
        self.sizes.add(self.next_offset, HEADER_BYTES + header.payload_length)
        self.last_timestamp = max(self.last_timestamp, timestamp)
        if header.sequenced:
            row = (header.base_sequence, count, base_offset)
            self.producers.append(header.producer_id, header.producer_epoch, row)
        elif is_deduplicated(header):
            span = (base_offset, self.next_offset, 0)
            self.produce_requests.remember(header.producer_id, header.request_digest, span)
        return AppendResult(base_offset, count)

    def execute(self, command: Command, timestamp: int, *, index: int) -> Any:
        """Carry out a command, stored in the log at `index`, and return its result."""
        self.last_timestamp = max(self.last_timestamp, timestamp)
        self._read_clock(command.clock_ms)
        match command.body:
            case PopMessages():
                return self._pop(command.body)
            case OpenCursor():
                return self._open_cursor(command.body)
            case ResetCursor():
                return self._reset_cursor(command.body)
            case ForgetClient():
                return self._forget_client(command.body)
            case ForgetIdle():
                return self._forget_idle(command.body)
            case Truncate():
                return self._truncate(command.body)
            case SetRetention():
                self.retention = command.body
                return None
            case _:
                return self._execute_for_group(command.body, index)

    def encode(self) -> bytes:
        """Return the state as bytes."""
        snapshot = _Snapshot(
            log_start_offset=self.log_start_offset,
            next_offset=self.next_offset,
            last_timestamp=self.last_timestamp,
            clock_ms=self.clock_ms,
            cursors=list(self.cursors.items()),
            producers=[(key, stamp, *state) for key, stamp, state in self.producers.rows()],
            produce_requests=_request_rows(self.produce_requests),
            pop_requests=_request_rows(self.pop_requests),
            retention=self.retention,
            sizes=self.sizes.encode(),
            groups=self.groups.rows(),
            works=self.works.rows(),
            makers=self.makers.rows(),
        )
        return bytes([SNAPSHOT_VERSION]) + _encoder.encode(snapshot)

    @classmethod
    def decode(cls, data: bytes) -> PartitionData:
        """Read what `encode` wrote.

        Raises:
            ValueError: the bytes are no state, or of an unknown version.
        """
        decoder = _decoders.get(data[:1])
        if decoder is None:
            raise ValueError(f"snapshot version {data[:1]!r} is unknown")
        try:
            snapshot: _Snapshot2 = decoder.decode(memoryview(data)[1:])
        except msgspec.MsgspecError as error:
            raise ValueError(f"not a snapshot: {error}") from error
        state = cls()
        state.log_start_offset = snapshot.log_start_offset
        state.next_offset = snapshot.next_offset
        state.last_timestamp = snapshot.last_timestamp
        state.clock_ms = snapshot.clock_ms
        state.cursors = dict(snapshot.cursors)
        state.producers.load(
            (key, stamp, ProducerState(epoch, following, batches))
            for key, stamp, epoch, following, batches in snapshot.producers
        )
        _load_requests(state.produce_requests, snapshot.produce_requests)
        _load_requests(state.pop_requests, snapshot.pop_requests)
        state.retention = snapshot.retention
        state.sizes = SizeMarks.decode(*snapshot.sizes)
        if isinstance(snapshot, _Snapshot3):
            state.groups.load(snapshot.groups)
            state.works.load(snapshot.works)
        if isinstance(snapshot, _Snapshot):
            state.makers.load(snapshot.makers)
        return state

    def _read_clock(self, clock_ms: int) -> None:
        self.clock_ms = max(self.clock_ms, clock_ms)
        for table in (self.producers, self.produce_requests, self.pop_requests):
            table.read_clock(self.clock_ms)

    def _pop(self, pop: PopMessages) -> PopResult:
        if self.cursor(pop.consumer_id) != pop.from_offset:
            return PopResult(pop.from_offset, pop.from_offset)
        missed = self.missed(pop.consumer_id)
        self.cursors[pop.consumer_id] = pop.to_offset
        if pop.request_digest:
            span = (pop.from_offset, pop.to_offset, missed)
            self.pop_requests.remember(pop.consumer_id, pop.request_digest, span)
        return PopResult(pop.from_offset, pop.to_offset, missed)

    def _open_cursor(self, opened: OpenCursor) -> CursorResult:
        if opened.consumer_id in self.cursors:
            return CursorResult(self.cursor(opened.consumer_id), moved=False)
        latest = opened.start is Start.LATEST
        offset = self.next_offset if latest else self.log_start_offset
        self.cursors[opened.consumer_id] = offset
        return CursorResult(offset, moved=True)

    def _reset_cursor(self, reset: ResetCursor) -> CursorResult:
        offset = self.cursor(reset.consumer_id)
        if reset.expected is not None and reset.expected != offset:
            return CursorResult(offset, moved=False)
        self.cursors[reset.consumer_id] = reset.offset
        return CursorResult(reset.offset, moved=True)

    def _forget_client(self, client: ForgetClient) -> None:
        if client.producer_id:
            self.producers.remove(client.producer_id)
            self.produce_requests.forget_client(client.producer_id)
        if client.consumer_id:
            self.cursors.pop(client.consumer_id, None)
            self.pop_requests.forget_client(client.consumer_id)
            for name in self.makers.disposable(client.consumer_id):
                if self._is_untouched(name):
                    self._forget_group(name)

    def _forget_idle(self, idle: ForgetIdle) -> None:
        for producer_id in self.producers.idle_since(idle.before_ms):
            self.producers.remove(producer_id)
        for table in (self.produce_requests, self.pop_requests):
            for key in table.idle_since(idle.before_ms):
                table.remove(key)

    def _is_untouched(self, name: str) -> bool:
        """Tell whether nothing of a group was delivered yet.

        What was delivered stays known, also when its worker is gone: how often decides when a
        message is dead.
        """
        work = self.works.get(name)
        if work is None:
            return True
        return not work.unsettled and not work.dead and work.next_offset <= self.log_start_offset

    def _forget_group(self, name: str) -> bool:
        self.makers.forget(name)
        return self.groups.forget(name) or self.works.forget(name)

    def _commit_offsets(self, commit: CommitOffsets, index: int) -> CommitResult:
        is_new = not self.knows_group(commit.group)
        place = self._move_group(commit, index)
        if place.refused is None:
            begins_late = is_new and commit.start is Start.LATEST
            self.makers.used(
                commit.group,
                commit.client_id,
                makes=is_new,
                lasts=begins_late or commit.offset is not None,
            )
        return place

    def _move_group(self, commit: CommitOffsets, index: int) -> CommitResult:
        work = self.works.get(commit.group)
        if work is not None:
            refused = refusal(None, commit, next_offset=self.next_offset)
            if work.is_busy or refused is not None:
                refused = CommitRefusal.WORKERS if work.is_busy else refused
                return CommitResult(0, work.offset, refused=refused)
            # With nothing out it is a group like any other, from where its workers left it.
            self.works.forget(commit.group)
            self.groups.make(commit.group, generation=0, offset=work.offset, index=index)
        return self.groups.commit(
            commit,
            log_start_offset=self.log_start_offset,
            next_offset=self.next_offset,
            index=index,
        )

    def _truncate(self, truncate: Truncate) -> TruncateResult:
        begin = min(truncate.to_offset, self.next_offset)
        if begin > self.log_start_offset:
            self.log_start_offset = begin
            self.sizes.cut(begin)
            self.works.truncate(begin)
        return TruncateResult(self.log_start_offset)

    def _receive(self, command: ReceiveMessages, index: int) -> ReceiveResult:
        name, is_new = command.group, not self.knows_group(command.group)
        group = self.groups.get(name)
        if group is not None and group.generation:
            return ReceiveResult(group.origin, [], refused=True)
        if name not in self.works:
            begin = self.next_offset if command.start is Start.LATEST else self.log_start_offset
            if group is not None:
                begin = group.offset
                self.groups.forget(name)
            work = self.works.make(name, origin=index, next_offset=begin)
            work.truncate(self.log_start_offset)
        begins_late = is_new and command.start is Start.LATEST
        self.makers.used(name, command.client_id, makes=is_new, lasts=begins_late)
        return self.works.receive(command, self.clock_ms, end=self.next_offset)

    def _execute_for_group(self, command: GroupCommand, index: int) -> Any:
        match command:
            case CommitOffsets():
                return self._commit_offsets(command, index)
            case ForgetGroup():
                return self._forget_group(command.group)
            case ReceiveMessages():
                return self._receive(command, index)
            case SettleMessages():
                outcomes = self.works.settle(command, self.clock_ms)
                if any(outcome.done for outcome in outcomes):
                    self.makers.keep(command.group)
                return outcomes
            case ExpireWork():
                return self.works.expire(command, self.clock_ms)
            case DeadCopied():
                return self.works.dead_copied(command)


def _request_rows(table: RequestTable) -> list[_RequestRow]:
    return [(client_id, digest, stamp, *span) for (client_id, digest), stamp, span in table.rows()]


def _load_requests(table: RequestTable, rows: list[_RequestRow]) -> None:
    table.load(
        ((client_id, digest), stamp, (first, end, missed))
        for client_id, digest, stamp, first, end, missed in rows
    )
