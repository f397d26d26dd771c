"""The state machine of one partition, as the engine knows it.

The leader decides in `prepare`: duplicates are refused there and nowhere else, offsets are given
there. `apply` never skips an entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from broker_app.partition.admission import Admission
from broker_app.partition.commands import (
    AppendBatch,
    Command,
    CommitOffsets,
    DeadCopied,
    ExpireWork,
    ForgetClient,
    ForgetGroup,
    ForgetIdle,
    OpenCursor,
    PopMessages,
    PopResult,
    ReceiveMessages,
    ResetCursor,
    SetRetention,
    SettleMessages,
    Start,
    Truncate,
    decode_command,
    encode_command,
)
from broker_app.partition.limits import FORGET_AFTER_MS, StateLimits
from broker_app.partition.speculation import AppendEffect, CommandEffect, Speculation
from broker_app.partition.state import PartitionData
from myqueue.contract.errors import CorruptBatch
from myqueue.contract.records import read_header
from myqueue.contract.rules.work import Work
from raft_app.core.types import EntryKind, Proposal
from raft_app.statemachine import InconsistentEntry, Propose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker_app.partition.commands import CommandBody, PartitionWrite
    from broker_app.partition.groups import ConsumerGroup
    from broker_app.partition.speculation import ProposalEffect
    from broker_app.partition.work import WorkTable
    from myqueue.contract.rules.work import Choice
    from raft_app.core.types import Entry
    from raft_app.statemachine import CommandAnswer, Decision, Join
    from raft_app.storage.protocol import GroupSpec

    SequenceListener = Callable[[int, int], None]
    AppendListener = Callable[[int, int], None]


class TableSizes(NamedTuple):
    """How many of each a partition remembers."""

    cursors: int
    consumer_groups: int
    """Those of queue workers included."""
    producers: int
    request_ids: int


class PartitionState:
    """One partition's applied state with the speculative view of its leader."""

    def __init__(self, spec: GroupSpec, snapshot: bytes = b"", *, limits: StateLimits) -> None:
        """Start from a snapshot; with `limits` bound, a `StateMachineFactory`.

        Args:
            spec: the local replica.
            snapshot: what `snapshot()` returned, or empty for the initial state.
            limits: what the partition remembers at most.

        Raises:
            InconsistentEntry: the snapshot cannot be read.
        """
        self.spec = spec
        self.on_sequence: SequenceListener | None = None
        """Told (group id, producer id) when a sequenced batch entered the log."""
        self.on_append: AppendListener | None = None
        """Told (group id, offset behind it) when a batch entered the leader's log."""
        self._data = _decoded(snapshot)
        self._limits = limits
        self._speculation = Speculation()
        self._admission = Admission(self._data, self._speculation, limits)
        self._clock_started: tuple[int, int] | None = None
        """(leader's monotonic clock, partition clock) at the first request of this leadership."""

    # --- what is known --------------------------------------------------------------------

    @property
    def log_start_offset(self) -> int:
        """Oldest offset still stored."""
        return self._data.log_start_offset

    @property
    def next_offset(self) -> int:
        """The high watermark: offset after the last committed and applied message."""
        return self._data.next_offset

    def cursor(self, consumer_id: int) -> int:
        """Return where a consumer's cursor will be after everything in flight."""
        return self._admission.cursor(consumer_id)

    def applied_cursor(self, consumer_id: int) -> int:
        """Return where a consumer's cursor is."""
        return self._data.cursor(consumer_id)

    @property
    def cursors_by_id(self) -> Mapping[int, int]:
        """Consumer id -> next offset, which may lie below the log start; for reading."""
        return self._data.cursors

    def consumer_group(self, name: str) -> ConsumerGroup | None:
        """Return a consumer group; None when it is not known, or used by queue workers."""
        return self._data.groups.get(name)

    def knows_group(self, name: str) -> bool:
        """Tell whether there is a consumer group of a name, used by workers or not."""
        return self._data.knows_group(name)

    def has_groups(self) -> bool:
        """Tell whether any group is known, used by workers or not."""
        return bool(self._data.works or self._data.groups)

    def group_names(self) -> list[str]:
        """Return the names of all groups, used by workers or not."""
        return [*self._data.works, *(name for name, _ in self._data.groups.rows())]

    def knows_cursor(self, consumer_id: int) -> bool:
        """Tell whether a consumer has a cursor."""
        return consumer_id in self._data.cursors

    def knows_producer(self, producer_id: int) -> bool:
        """Tell whether the last batches of a producer are remembered."""
        return producer_id in self._data.producers

    def popped(self, consumer_id: int, request_digest: bytes) -> PopResult | None:
        """Return the result of an earlier pop with this request id, None without one."""
        span = self._data.pop_requests.get((consumer_id, request_digest))
        return None if span is None else PopResult(*span)

    def is_popping(self, consumer_id: int, request_digest: bytes) -> bool:
        """Tell whether a pop with this request id is in the log and not applied yet."""
        return (consumer_id, request_digest) in self._speculation.pop_requests

    def end_in_flight(self, offset: int, *, max_messages: int, max_bytes: int) -> int:
        """Return up to where a pop may take messages that this leader has not committed yet.

        Args:
            offset: where it begins, at or above the high watermark.
            max_messages: most messages.
            max_bytes: most bytes of whole batches, decoded; without an exception for the first.

        Returns:
            The offset behind them; `offset` when there are none.
        """
        end = self._speculation.end_of(
            self._data.next_offset, offset, max_messages=max_messages, max_bytes=max_bytes
        )
        return min(end, offset + max_messages)

    def expected_sequence(self, producer_id: int, epoch: int) -> int:
        """Return the sequence that a producer's next batch of an epoch must begin with."""
        return self._admission.expected_sequence(producer_id, epoch)

    @property
    def retention(self) -> SetRetention:
        """How long and how much the partition keeps."""
        return self._data.retention

    @property
    def size_bytes(self) -> int:
        """Bytes of the batches stored, within a small part of them."""
        return self._data.sizes.size_bytes

    def offset_leaving(self, size_bytes: int) -> int:
        """Return the highest known offset behind which at least `size_bytes` are stored.

        It ends a record batch.
        """
        return self._data.sizes.last_leaving(size_bytes)

    @property
    def works(self) -> WorkTable:
        """The messages that are out with workers, by group; for reading."""
        return self._data.works

    def choose_work(self, name: str, clock_ms: int, max_messages: int) -> Choice:
        """Return what the workers of a group would get next.

        Args:
            name: of the group.
            clock_ms: the partition clock.
            max_messages: most messages.
        """
        data, work = self._data, self._data.works.get(name)
        if work is None:
            group = data.groups.get(name)
            begin = max(group.offset if group is not None else 0, data.log_start_offset)
            work = Work(0, begin)
        return work.choose(
            clock_ms,
            end=data.next_offset,
            max_messages=max_messages,
            room=self._limits.unsettled_max,
        )

    def work_due(self, name: str, clock_ms: int) -> int | None:
        """Return when a message becomes visible to the workers of a group; now if one is.

        Args:
            name: of the group.
            clock_ms: the partition clock.
        """
        choice = self.choose_work(name, clock_ms, 1)
        if not choice.is_empty:
            return clock_ms
        work = self._data.works.get(name)
        return None if work is None else work.comes_back_at(clock_ms)

    def wants_tidying(self, clock_ms: int) -> bool:
        """Tell whether `ForgetIdle` helps: a table is filling, and an entry is idle or ageless.

        Args:
            clock_ms: monotonic clock of the leader, milliseconds.
        """
        if not self.is_filling():
            return False
        tables = (self._data.producers, self._data.produce_requests, self._data.pop_requests)
        before_ms = self.partition_clock(clock_ms) - FORGET_AFTER_MS
        return any(table.would_change(before_ms) for table in tables)

    def is_filling(self) -> bool:
        """Tell whether a table is more than half full, so that forgetting idle entries helps."""
        data, limits = self._data, self._limits
        request_ids = len(data.produce_requests) + len(data.pop_requests)
        return (
            2 * len(data.producers) > limits.producers_max
            or 2 * request_ids > limits.request_ids_max
        )

    def table_sizes(self) -> TableSizes:
        """Return the sizes of the tables."""
        data = self._data
        return TableSizes(
            cursors=len(data.cursors),
            consumer_groups=len(data.groups) + len(data.works),
            producers=len(data.producers),
            request_ids=len(data.produce_requests) + len(data.pop_requests),
        )

    # --- on the leader --------------------------------------------------------------------

    def prepare(self, request: PartitionWrite, *, now_ms: int, clock_ms: int) -> Decision:
        """Decide what to do with a request; see `raft_app.statemachine.StateMachine`.

        Raises:
            QueueError: refused before it was proposed.
        """
        timestamp = max(now_ms, self._data.last_timestamp, self._speculation.timestamp)
        if isinstance(request, AppendBatch):
            return self._admission.batch(request.header) or self._append(request, timestamp)
        clock_ms = self.partition_clock(clock_ms)
        return self._admit(request) or self._command(request, timestamp, clock_ms)

    def partition_clock(self, clock_ms: int) -> int:
        """Return the partition clock: the applied one and what elapsed on this leader since.

        Args:
            clock_ms: monotonic clock of the leader, milliseconds.
        """
        if self._clock_started is None:
            self._clock_started = (clock_ms, self._data.clock_ms)
        started, base_ms = self._clock_started
        elapsed = base_ms + clock_ms - started
        return max(elapsed, self._data.clock_ms, self._speculation.clock_ms)

    def proposed(self, token: ProposalEffect, index: int, term: int) -> None:
        """Extend the speculative view by a proposal that entered the log."""
        self._speculation.extend(token, (index, term))
        if not isinstance(token, AppendEffect):
            return
        if self.on_sequence and token.header.sequenced:
            self.on_sequence(self.spec.group_id, token.header.producer_id)
        if self.on_append:
            self.on_append(self.spec.group_id, self._next_free_offset())

    def abandon_speculation(self) -> None:
        """Make the applied state the view again: leadership was lost or won anew."""
        self._speculation.clear()
        self._clock_started = None

    # --- on every replica -----------------------------------------------------------------

    def apply(self, entry: Entry) -> Any:
        """Apply a committed DATA or COMMAND entry and return its result.

        Returns:
            `AppendResult` for a batch; for a command the result that `commands` declares.

        Raises:
            InconsistentEntry: the entry contradicts the state or cannot be read.
        """
        effect = self._speculation.release((entry.index, entry.term))
        match entry.kind:
            case EntryKind.DATA:
                return self._apply_batch(entry, effect)
            case EntryKind.COMMAND:
                try:
                    command = decode_command(entry.data)
                except ValueError as error:
                    raise InconsistentEntry(str(error)) from error
                return self._data.execute(command, entry.append_timestamp, index=entry.index)
            case _:
                raise AssertionError(f"a state machine applies no {entry.kind.name} entry")

    def snapshot(self) -> bytes:
        """Encode the applied state."""
        return self._data.encode()

    def restore(self, snapshot: bytes) -> None:
        """Replace the applied state.

        Raises:
            InconsistentEntry: the snapshot cannot be read; nothing was replaced.
        """
        self._data = _decoded(snapshot)
        self._admission = Admission(self._data, self._speculation, self._limits)
        self.abandon_speculation()

    def _apply_batch(self, entry: Entry, effect: ProposalEffect | None) -> Any:
        if entry.base_offset != self._data.next_offset:
            raise InconsistentEntry(
                f"the batch is for offset {entry.base_offset}, next is {self._data.next_offset}"
            )
        if isinstance(effect, AppendEffect):
            header = effect.header
        else:
            try:
                header = read_header(entry.data)
            except CorruptBatch as error:
                raise InconsistentEntry(f"the batch cannot be read: {error}") from error
        if header.record_count != entry.record_count:
            raise InconsistentEntry(
                f"the entry has {entry.record_count} messages, its batch {header.record_count}"
            )
        return self._data.append(header, entry.append_timestamp)

    def _admit(self, request: CommandBody) -> Join | CommandAnswer | None:
        match request:
            case PopMessages():
                return self._admission.pop(request)
            case OpenCursor():
                return self._admission.open_cursor(request)
            case ResetCursor():
                self._admission.reset_cursor(request)
            case Truncate():
                return self._admission.truncate(request)
            case CommitOffsets():
                self._admission.commit_offsets(request)
            case ReceiveMessages():
                self._admission.receive(request)
            case ForgetClient() | ForgetIdle() | SetRetention() | ForgetGroup():
                pass
            case SettleMessages() | DeadCopied() | ExpireWork():
                pass
        return None

    def _append(self, request: AppendBatch, timestamp: int) -> Propose:
        proposal = Proposal(
            kind=EntryKind.DATA,
            data=request.batch,
            base_offset=self._next_free_offset(),
            record_count=request.header.record_count,
            append_timestamp=timestamp,
        )
        return Propose(proposal, AppendEffect(request.header, timestamp))

    def _command(self, request: CommandBody, timestamp: int, clock_ms: int) -> Propose:
        effect = CommandEffect(clock_ms, timestamp)
        body: CommandBody = request
        match request:
            case PopMessages(consumer_id=consumer_id, to_offset=offset, request_digest=digest):
                effect = CommandEffect(clock_ms, timestamp, consumer_id, offset, digest)
            case OpenCursor(consumer_id=consumer_id):
                offset = self._offset_after_opening(request)
                effect = CommandEffect(clock_ms, timestamp, consumer_id, offset)
            case ResetCursor(consumer_id=consumer_id, offset=offset):
                effect = CommandEffect(clock_ms, timestamp, consumer_id, offset)
            case CommitOffsets() | ReceiveMessages():
                effect = CommandEffect(
                    clock_ms, timestamp, group=request.group, maker_id=request.client_id
                )
            case ForgetIdle():
                body = replace(request, before_ms=clock_ms - FORGET_AFTER_MS)
        data = encode_command(Command(clock_ms, body))
        proposal = Proposal(kind=EntryKind.COMMAND, data=data, append_timestamp=timestamp)
        return Propose(proposal, effect)

    def _offset_after_opening(self, opened: OpenCursor) -> int:
        if opened.consumer_id in self._speculation.cursors:
            return self.cursor(opened.consumer_id)
        latest = opened.start is Start.LATEST
        return self._next_free_offset() if latest else self._data.log_start_offset

    def _next_free_offset(self) -> int:
        return self._data.next_offset + self._speculation.record_count


def _decoded(snapshot: bytes) -> PartitionData:
    try:
        return PartitionData.decode(snapshot) if snapshot else PartitionData()
    except ValueError as error:
        raise InconsistentEntry(str(error)) from error
