"""Random histories of one partition against a model that reads the whole log at each step.

The model is slow and obvious: everything it says follows from the list of entries.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from broker_app.partition.commands import (
    AppendResult,
    ForgetIdle,
    PopMessages,
    PopResult,
    decode_command,
)
from broker_app.partition.limits import StateLimits
from myqueue.contract.errors import OutOfOrderSequence, ProducerFenced, QueueError, UnknownProducer
from myqueue.contract.records import decode_records, read_header, request_digest
from raft_app.core.types import EntryKind
from raft_app.statemachine import CommandAnswer, Join, Propose
from tests.broker_app.replica import Leader, batch_of, replay

PRODUCERS = st.integers(1, 3)
EPOCHS = st.integers(0, 2)
CONSUMERS = st.integers(1, 2)


def size_of(producer_id: int, epoch: int, number: int) -> int:
    """Return how many messages the batch with this number has: fixed, so that retries are equal."""
    return 1 + (producer_id + 2 * epoch + number) % 3


class PartitionHistory(RuleBasedStateMachine):
    """Producers, consumers, lost leaderships and snapshots in any order."""

    @initialize()
    def begin(self) -> None:
        self.leader = Leader(StateLimits())
        self.popped: dict[tuple[int, str], PopResult] = {}
        self.requests = 0

    # --- what the model knows -------------------------------------------------------------

    def batches(self, producer_id: int) -> list[tuple[int, int, int]]:
        """Return (epoch, number, index) of a producer's sequenced batches in the log."""
        found = []
        counts: dict[int, int] = defaultdict(int)
        for entry in self.leader.log:
            if entry.kind is EntryKind.DATA:
                header = read_header(entry.data)
                if header.sequenced and header.producer_id == producer_id:
                    epoch = header.producer_epoch
                    found.append((epoch, counts[epoch], entry.index))
                    counts[epoch] += 1
        return found

    def expected(self, producer_id: int, epoch: int, number: int) -> Any:
        """Return the decision that the log demands: an index, "propose", or an error class."""
        known = self.batches(producer_id)
        if not known:
            return "propose" if number == 0 else UnknownProducer
        newest = known[-1][0]
        if epoch < newest:
            return ProducerFenced
        same = [index for one, _, index in known if one == epoch]
        if number == len(same):
            return "propose"
        if number > len(same):
            return OutOfOrderSequence
        applied = [index for index in same if index <= self.leader.applied]
        index = same[number]
        remembered = index > self.leader.applied or index in applied[-5:]
        return index if remembered else OutOfOrderSequence

    # --- what happens ---------------------------------------------------------------------

    @rule(producer_id=PRODUCERS, epoch=EPOCHS, ahead=st.integers(-6, 1))
    def send_batch(self, producer_id: int, epoch: int, ahead: int) -> None:
        sent = [one for one in self.batches(producer_id) if one[0] == epoch]
        number = max(0, len(sent) + ahead)
        sequence = sum(size_of(producer_id, epoch, earlier) for earlier in range(number))
        values = [
            f"{producer_id}/{epoch}/{sequence + place}"
            for place in range(size_of(producer_id, epoch, number))
        ]
        request = batch_of(*values, producer_id=producer_id, epoch=epoch, sequence=sequence)
        expected = self.expected(producer_id, epoch, number)
        if isinstance(expected, type) and issubclass(expected, QueueError):
            with pytest.raises(expected):
                self.leader.decide(request)
            return
        decision = self.leader.decide(request)
        if expected == "propose":
            assert isinstance(decision, Propose)
            return
        entry = self.leader.log[expected - 1]
        if expected > self.leader.applied:
            assert decision == Join(entry.index, entry.term)
        else:
            assert decision == CommandAnswer(AppendResult(entry.base_offset, entry.record_count))

    @rule(producer_id=PRODUCERS, number=st.integers(0, 5))
    def send_request(self, producer_id: int, number: int) -> None:
        request = batch_of(
            f"request {producer_id} {number}", producer_id=producer_id, request_id=f"r{number}"
        )
        digest = request_digest(f"r{number}")
        earlier = [
            entry
            for entry in self.leader.log
            if entry.kind is EntryKind.DATA
            and (header := read_header(entry.data)).request_digest == digest
            and header.producer_id == producer_id
        ]
        decision = self.leader.decide(request)
        if not earlier:
            assert isinstance(decision, Propose)
        elif earlier[0].index > self.leader.applied:
            assert decision == Join(earlier[0].index, earlier[0].term)
        else:
            assert decision == CommandAnswer(AppendResult(earlier[0].base_offset, 1))

    @rule(consumer_id=CONSUMERS, count=st.integers(1, 4), again=st.booleans())
    def pop(self, consumer_id: int, count: int, again: bool) -> None:
        state = self.leader.state
        if not again:
            self.requests += 1
        name = f"p{self.requests}"
        start = state.cursor(consumer_id)
        end = min(start + count, state.next_offset)
        if start >= end:
            return
        decision = self.leader.decide(PopMessages(consumer_id, start, end, request_digest(name)))
        if isinstance(decision, CommandAnswer) and (consumer_id, name) in self.popped:
            assert decision.result == self.popped[consumer_id, name]
        elif isinstance(decision, Propose):
            assert (consumer_id, name) not in self.popped

    @rule(count=st.integers(1, 5))
    def apply(self, count: int) -> None:
        for _ in range(min(count, len(self.leader.log) - self.leader.applied)):
            result = self.leader.apply_next()
            if isinstance(result, PopResult):
                assert result.moved
                command = self.leader.log[self.leader.applied - 1]
                self.note_popped(command.data, result)

    @rule(milliseconds=st.integers(0, 400_000))
    def forget_idle(self, milliseconds: int) -> None:
        self.leader.clock_ms += milliseconds % 1_000
        self.leader.decide(ForgetIdle())

    @precondition(lambda self: len(self.leader.log) >= self.leader.applied)
    @rule(data=st.data())
    def lose_leadership(self, data: st.DataObject) -> None:
        kept = data.draw(st.integers(self.leader.applied, len(self.leader.log)))
        while self.leader.applied < kept:
            self.apply(1)
        self.leader.fail_over(kept)

    @rule(data=st.data())
    def restart_from_a_snapshot(self, data: st.DataObject) -> None:
        applied = self.leader.log[: self.leader.applied]
        cut = data.draw(st.integers(0, len(applied)))
        snapshot = replay(applied[:cut], self.leader.limits).snapshot()
        restored = replay(applied[cut:], self.leader.limits, snapshot)
        assert restored.snapshot() == self.leader.state.snapshot()
        pending = self.leader.log[self.leader.applied :]
        self.leader.state = restored
        del self.leader.log[self.leader.applied :]
        for entry in pending:
            self.leader.append(entry)
        self.leader.fail_over(self.leader.applied)

    # --- what must hold -------------------------------------------------------------------

    def note_popped(self, data: bytes, result: PopResult) -> None:
        pop = decode_command(data).body
        assert isinstance(pop, PopMessages)
        for number in range(self.requests + 1):
            if request_digest(f"p{number}") == pop.request_digest:
                key = (pop.consumer_id, f"p{number}")
                assert key not in self.popped, "one request popped twice"
                self.popped[key] = result

    @invariant()
    def every_message_is_there_once_and_in_order(self) -> None:
        next_offset = 0
        seen: dict[tuple[str, str], int] = defaultdict(int)
        requests = set()
        for entry in self.leader.log:
            if entry.kind is not EntryKind.DATA:
                continue
            assert entry.base_offset == next_offset
            next_offset += entry.record_count
            for record in decode_records(entry.data):
                if str(record.value).startswith("request"):
                    assert record.value not in requests
                    requests.add(record.value)
                    continue
                producer_id, epoch, number = str(record.value).split("/")
                assert int(number) == seen[producer_id, epoch]
                seen[producer_id, epoch] += 1

    @invariant()
    def every_consumer_passes_over_each_message_once(self) -> None:
        for consumer_id in (1, 2):
            ranges = sorted(
                (popped.from_offset, popped.to_offset)
                for (one, _), popped in self.popped.items()
                if one == consumer_id
            )
            assert all(end == start for (_, end), (start, _) in pairwise(ranges))
            if ranges:
                assert ranges[0][0] == 0
                assert self.leader.state.applied_cursor(consumer_id) == ranges[-1][1]

    @invariant()
    def a_follower_has_the_same_state(self) -> None:
        follower = replay(self.leader.log[: self.leader.applied], self.leader.limits)
        assert follower.snapshot() == self.leader.state.snapshot()


PartitionHistory.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestPartitionHistory = PartitionHistory.TestCase
