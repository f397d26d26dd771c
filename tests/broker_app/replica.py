"""A log of one group for tests: proposals become entries at once and are applied later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker_app.partition.commands import AppendBatch, PartitionWrite
from broker_app.partition.limits import StateLimits
from broker_app.partition.statemachine import PartitionState
from myqueue.contract.records import Record, encode_batch, read_header, request_digest
from raft_app.core.types import Entry, EntryKind
from raft_app.statemachine import CommandAnswer, Join, Propose
from raft_app.storage.protocol import GroupSpec

if TYPE_CHECKING:
    from raft_app.core.types import PartitionWrite

SPEC = GroupSpec(group_id=7, replica_id=70, topic="logs", partition=0)


def batch_of(
    *values: str,
    producer_id: int = 1,
    epoch: int = 0,
    sequence: int = -1,
    request_id: str = "",
) -> AppendBatch:
    """Return the request that appends these values."""
    batch = encode_batch(
        [Record(value, timestamp=1) for value in values],
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        request_digest=request_digest(request_id) if request_id else b"",
    )
    return AppendBatch(batch, read_header(batch))


class Leader:
    """A leader's state machine with a log; nothing is applied before `apply_next`."""

    def __init__(self, limits: StateLimits | None = None, snapshot: bytes = b"") -> None:
        self.limits = limits or StateLimits()
        self.state = PartitionState(SPEC, snapshot, limits=self.limits)
        self.log: list[Entry] = []
        self.applied = 0
        self.term = 1
        self.now_ms = 1_000
        self.clock_ms = 50_000

    def decide(self, request: PartitionWrite) -> Any:
        """Return the decision, after noting a proposal in the log."""
        decision = self.state.prepare(request, now_ms=self.now_ms, clock_ms=self.clock_ms)
        if isinstance(decision, Propose):
            self.append(decision.proposal)
            self.state.proposed(decision.token, len(self.log), self.term)
        return decision

    def append(self, proposal: PartitionWrite) -> None:
        """Put an entry into the log."""
        self.log.append(
            Entry(
                index=len(self.log) + 1,
                term=self.term,
                kind=proposal.kind,
                data=proposal.data,
                base_offset=proposal.base_offset,
                record_count=proposal.record_count,
                append_timestamp=proposal.append_timestamp,
            )
        )

    def apply_next(self) -> Any:
        """Apply one entry and return its result."""
        entry = self.log[self.applied]
        self.applied += 1
        return self.state.apply(entry) if entry.kind is not EntryKind.NOOP else None

    def apply_all(self) -> Any:
        """Apply everything in the log and return the last result."""
        result = None
        while self.applied < len(self.log):
            result = self.apply_next()
        return result

    def run(self, request: PartitionWrite) -> Any:
        """Return the result of a request, applied at once."""
        match self.decide(request):
            case CommandAnswer(result=result):
                return result
            case Join(index=index):
                results = {}
                while self.applied < index:
                    results[self.applied + 1] = self.apply_next()
                return results[index]
            case _:
                return self.apply_all()

    def fail_over(self, kept: int) -> None:
        """Lose leadership with the log cut to `kept` entries, and win it again in a new term."""
        assert kept >= self.applied
        self.state.abandon_speculation()
        del self.log[kept:]
        self.term += 1
        self.log.append(Entry(index=len(self.log) + 1, term=self.term, kind=EntryKind.NOOP))
        self.apply_all()
        self.state.abandon_speculation()


def replay(log: list[Entry], limits: StateLimits, snapshot: bytes = b"") -> PartitionState:
    """Return the state of a follower that applied these entries."""
    state = PartitionState(SPEC, snapshot, limits=limits)
    for entry in log:
        if entry.kind is not EntryKind.NOOP:
            state.apply(entry)
    return state
