"""What a leader does with a request: propose it, join the same one in flight, or answer at once.

Pure decisions over the applied state and the speculative view. Whatever is refused here was not
proposed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.partition.commands import (
    AppendResult,
    CommitOffsets,
    CommitRefusal,
    CursorResult,
    OpenCursor,
    PopMessages,
    PopResult,
    ReceiveMessages,
    ResetCursor,
    Truncate,
    TruncateResult,
)
from broker_app.partition.groups import commit_error, refusal
from broker_app.partition.speculation import is_deduplicated
from myqueue.contract import retry_after
from myqueue.contract.errors import (
    CursorMoved,
    OffsetOutOfRange,
    Overloaded,
)
from myqueue.contract.rules.group_makers import GroupRoom
from myqueue.contract.rules.producers import follows, out_of_order
from raft_app.statemachine import CommandAnswer, Join

if TYPE_CHECKING:
    from broker_app.partition.limits import StateLimits
    from broker_app.partition.speculation import Speculation
    from broker_app.partition.state import PartitionData
    from myqueue.contract.records import BatchHeader
    from myqueue.contract.rules.request_table import RequestTable

_CURSORS_ADVICE = (
    "DELETE /consumers/{id} those that are no longer used, or wait until the manager forgets"
    " consumers that are silent for QUEUE_FORGET_AFTER_S"
)


class Admission:
    """The decisions of one partition's leader; `None` means: propose it."""

    def __init__(self, data: PartitionData, speculation: Speculation, limits: StateLimits) -> None:
        self._data = data
        self._speculation = speculation
        self._limits = limits

    def batch(self, header: BatchHeader) -> Join | CommandAnswer | None:
        """Decide on a batch.

        Raises:
            UnknownProducer | ProducerFenced | OutOfOrderSequence: its sequence does not fit.
            Overloaded: the tables have no room for its producer.
        """
        if header.sequenced:
            return self._sequenced_batch(header)
        if is_deduplicated(header):
            return self._identified_batch(header)
        return None

    def pop(self, pop: PopMessages) -> Join | CommandAnswer | None:
        """Decide on a pop.

        Raises:
            CursorMoved: the range does not begin at the cursor; choose another.
            Overloaded: the tables have no room for the consumer or the request id.
        """
        if pop.request_digest:
            key = (pop.consumer_id, pop.request_digest)
            position = self._speculation.pop_requests.get(key)
            if position is not None:
                return Join(*position)
            span = self._data.pop_requests.get(key)
            if span is not None:
                return CommandAnswer(PopResult(*span))
            self._check_request_room(self._data.pop_requests, pop.consumer_id)
        in_log = self._data.next_offset + self._speculation.record_count
        assert pop.from_offset < pop.to_offset <= in_log, pop
        cursor = self.cursor(pop.consumer_id)
        if cursor != pop.from_offset:
            raise CursorMoved(f"the cursor is at {cursor}, not at {pop.from_offset}", offset=cursor)
        self._check_cursor_room(pop.consumer_id)
        return None

    def open_cursor(self, opened: OpenCursor) -> CommandAnswer | None:
        """Decide on opening a cursor.

        Raises:
            Overloaded: there is no room for another cursor.
        """
        if opened.consumer_id in self._data.cursors:
            return CommandAnswer(CursorResult(self._data.cursor(opened.consumer_id), moved=False))
        self._check_cursor_room(opened.consumer_id)
        return None

    def reset_cursor(self, reset: ResetCursor) -> None:
        """Decide on moving a cursor.

        Raises:
            OffsetOutOfRange: there is no such offset.
            CursorMoved: the cursor is not where it is expected.
            Overloaded: there is no room for another cursor.
        """
        check_offset(self._data, reset.offset)
        cursor = self.cursor(reset.consumer_id)
        if reset.expected is not None and reset.expected != cursor:
            raise CursorMoved(f"the cursor is at {cursor}, not at {reset.expected}", offset=cursor)
        self._check_cursor_room(reset.consumer_id)

    def commit_offsets(self, commit: CommitOffsets) -> None:
        """Decide on a commit of a consumer group.

        Only what is applied fences: a later generation that is in flight may never be committed,
        and if it is, the command tells so when it is applied.

        Raises:
            IllegalGeneration: a later generation has the group; `generation` is the known one.
            OffsetOutOfRange: the offset is below 0 or above the high watermark.
            InvalidRequest: workers use the group and have messages out.
            TooManyGroups: there is no room for another group, at all or of this client.
        """
        data = self._data
        group, work = data.groups.get(commit.group), data.works.get(commit.group)
        refused = refusal(group, commit, next_offset=data.next_offset)
        if work is not None and work.is_busy:
            refused = CommitRefusal.WORKERS
        if refused is not None:
            raise commit_error(
                commit,
                refused,
                generation=group.generation if group is not None else 0,
                log_start_offset=data.log_start_offset,
                next_offset=data.next_offset,
            )
        self._check_group_room(commit.group, commit.client_id)

    def truncate(self, truncate: Truncate) -> CommandAnswer | None:
        """Decide on a truncation: nothing that is truncated already, nothing in flight."""
        assert truncate.to_offset <= self._data.next_offset, truncate
        if truncate.to_offset <= self._data.log_start_offset:
            return CommandAnswer(TruncateResult(self._data.log_start_offset))
        return None

    def receive(self, receive: ReceiveMessages) -> None:
        """Decide on delivering messages to a worker.

        Raises:
            TooManyGroups: there is no room for another group, at all or of this client.
        """
        self._check_group_room(receive.group, receive.client_id)

    def cursor(self, consumer_id: int) -> int:
        """Return where a consumer's cursor will be after everything in flight."""
        moves = self._speculation.cursors.get(consumer_id)
        return self._data.cursor(consumer_id) if moves is None else moves.offset

    def expected_sequence(self, producer_id: int, epoch: int) -> int:
        """Return the sequence that a producer's next batch of an epoch must begin with."""
        known = self._speculation.producers.get(producer_id) or self._data.producers.get(
            producer_id
        )
        return known.next_sequence if known is not None and known.epoch == epoch else 0

    def _sequenced_batch(self, header: BatchHeader) -> Join | CommandAnswer | None:
        in_flight = self._speculation.producers.get(header.producer_id)
        applied = self._data.producers.get(header.producer_id)
        known = in_flight or applied
        if follows(header, known):
            if known is None:
                self._check_producer_room(header.producer_id)
            return None
        assert known is not None, "the first batch of a producer follows"
        sequence, count = header.base_sequence, header.record_count
        if header.producer_epoch == known.epoch and sequence < known.next_sequence:
            position = in_flight.find(sequence, count) if in_flight else None
            if position is not None:
                return Join(*position)
            base_offset = applied.find(header) if applied is not None else None
            if base_offset is not None:
                return CommandAnswer(AppendResult(base_offset, count))
        raise out_of_order(header, known)

    def _identified_batch(self, header: BatchHeader) -> Join | CommandAnswer | None:
        key = (header.producer_id, header.request_digest)
        position = self._speculation.produce_requests.get(key)
        if position is not None:
            return Join(*position)
        span = self._data.produce_requests.get(key)
        if span is not None:
            first, end, _ = span
            return CommandAnswer(AppendResult(first, end - first))
        self._check_request_room(self._data.produce_requests, header.producer_id)
        return None

    def _check_producer_room(self, new_id: int) -> None:
        known, in_flight = self._data.producers, self._speculation.producers
        if len(known) + len(in_flight) < self._limits.producers_max:
            return
        new = sum(producer_id not in known for producer_id in in_flight)
        if len(known) + new >= self._limits.producers_max:
            raise _overloaded("producers", self._limits.producers_max, owner=f"producer {new_id}")

    def _check_cursor_room(self, consumer_id: int) -> None:
        known, in_flight = self._data.cursors, self._speculation.cursors
        if consumer_id in known or consumer_id in in_flight:
            return
        if len(known) + len(in_flight) < self._limits.cursors_max:
            return
        new = sum(other not in known for other in in_flight)
        if len(known) + new >= self._limits.cursors_max:
            raise _overloaded(
                "cursors",
                self._limits.cursors_max,
                owner=f"consumer {consumer_id}",
                advice=_CURSORS_ADVICE,
            )

    def _check_group_room(self, name: str, client_id: int) -> None:
        data, in_flight, limits = self._data, self._speculation.groups, self._limits
        if data.knows_group(name) or name in in_flight:
            return
        new = [one for other, one in in_flight.items() if not data.knows_group(other)]
        GroupRoom(limits.groups_max, limits.groups_per_client_max).check(
            name,
            client_id,
            known=len(data.groups) + len(data.works) + len(new),
            own=data.makers.count(client_id) + sum(one.maker_id == client_id for one in new),
        )

    def _check_request_room(self, table: RequestTable, client_id: int) -> None:
        data, speculation = self._data, self._speculation
        remembered = len(data.produce_requests) + len(data.pop_requests)
        in_flight = len(speculation.produce_requests) + len(speculation.pop_requests)
        if remembered + in_flight >= self._limits.request_ids_max and table.grows(client_id):
            raise _overloaded(
                "request ids", self._limits.request_ids_max, owner=f"client {client_id}"
            )


def check_offset(data: PartitionData, offset: int) -> None:
    """Refuse an offset that is neither stored nor the next one.

    Raises:
        OffsetOutOfRange: with both limits.
    """
    if not data.log_start_offset <= offset <= data.next_offset:
        raise OffsetOutOfRange(
            f"offset {offset} is outside {data.log_start_offset} to {data.next_offset}",
            log_start_offset=data.log_start_offset,
            high_watermark=data.next_offset,
        )


def _overloaded(
    what: str, limit: int, *, owner: str, advice: str = "try again later"
) -> Overloaded:
    return Overloaded(
        f"the partition remembers {limit} {what} already, the limit for all clients: no room for"
        f" {owner}; {advice}",
        retry_after_ms=retry_after.PARTITION_MS,
        limit=limit,
    )
