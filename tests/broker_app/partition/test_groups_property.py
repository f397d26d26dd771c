"""Random histories of consumer groups against a model that reads the whole log at each step.

The model keeps no table: where a group is follows from the entries that were applied, one after
the other, told in the plainest way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from broker_app.partition.commands import (
    CommitOffsets,
    CommitRefusal,
    CommitResult,
    ForgetGroup,
    Start,
    Truncate,
    decode_command,
)
from broker_app.partition.limits import StateLimits
from myqueue.contract.errors import IllegalGeneration, OffsetOutOfRange, TooManyGroups
from raft_app.core.types import EntryKind
from raft_app.statemachine import Propose
from tests.broker_app.replica import Leader, batch_of, replay

if TYPE_CHECKING:
    from broker_app.partition.commands import CommandBody
    from myqueue.contract.errors import QueueError
    from raft_app.core.types import Entry

NAMES = st.sampled_from(["a", "b", "c", "d"])
GENERATIONS = st.integers(0, 4)
LIMITS = StateLimits(groups_max=3)


class Told:
    """What a prefix of the log means, told from its beginning."""

    def __init__(self, entries: list[Entry]) -> None:
        self.start = self.end = 0
        self.places: dict[str, tuple[int, int]] = {}
        """Group -> (generation, offset as it was committed or told)."""
        self.result: Any = None
        """Of the last entry."""
        for entry in entries:
            self.result = None
            if entry.kind is EntryKind.DATA:
                self.end += entry.record_count
            elif entry.kind is EntryKind.COMMAND:
                self.tell(decode_command(entry.data).body)

    def tell(self, body: CommandBody) -> None:
        match body:
            case Truncate(to_offset=offset):
                self.start = max(self.start, min(offset, self.end))
            case ForgetGroup(group=name):
                self.result = name in self.places
                self.places.pop(name, None)
            case CommitOffsets():
                self.result = self.commit(body)

    def commit(self, body: CommitOffsets) -> CommitResult:
        first = self.end if body.start is Start.LATEST else self.start
        known, offset = self.places.get(body.group, (0, first))
        if body.generation < known:
            where = max(offset, self.start)
            return CommitResult(known, where, refused=CommitRefusal.GENERATION)
        if body.offset is not None:
            offset = body.offset
        missed = 0
        while offset < self.start:
            offset, missed = offset + 1, missed + 1
        self.places[body.group] = (body.generation, offset)
        return CommitResult(body.generation, offset, missed)


class GroupHistory(RuleBasedStateMachine):
    """Members of all generations, retention, lost leaderships and snapshots in any order."""

    @initialize()
    def begin(self) -> None:
        self.leader = Leader(LIMITS)

    def told(self, applied: int | None = None) -> Told:
        return Told(self.leader.log[: self.leader.applied if applied is None else applied])

    @rule(count=st.integers(1, 4))
    def append(self, count: int) -> None:
        self.leader.decide(batch_of(*"x" * count))

    @rule(
        name=NAMES,
        generation=GENERATIONS,
        offset=st.none() | st.integers(-1, 20),
        start=st.sampled_from(Start),
    )
    def commit(self, name: str, generation: int, offset: int | None, start: Start) -> None:
        told = self.told()
        known = told.places.get(name, (0, 0))[0]
        flying = {
            body.group
            for entry in self.leader.log[self.leader.applied :]
            if entry.kind is EntryKind.COMMAND
            and isinstance(body := decode_command(entry.data).body, CommitOffsets)
        }
        expected: type[QueueError] | None = None
        if generation < known:
            expected = IllegalGeneration
        elif offset is not None and (offset < 0 or offset > told.end):
            expected = OffsetOutOfRange
        elif (
            name not in {*told.places, *flying}
            and len({*told.places, *flying}) >= LIMITS.groups_max
        ):
            expected = TooManyGroups
        request = CommitOffsets(name, generation, offset, start)
        if expected is None:
            assert isinstance(self.leader.decide(request), Propose)
            return
        with pytest.raises(expected) as refused:
            self.leader.decide(request)
        if expected is IllegalGeneration:
            assert refused.value.details == {"generation": known}

    @rule(name=NAMES)
    def forget(self, name: str) -> None:
        self.leader.decide(ForgetGroup(name))

    @rule(count=st.integers(1, 5))
    def retain(self, count: int) -> None:
        state = self.leader.state
        offset = min(state.log_start_offset + count, state.next_offset)
        self.leader.decide(Truncate(offset))

    @rule(count=st.integers(1, 5))
    def apply(self, count: int) -> None:
        for _ in range(min(count, len(self.leader.log) - self.leader.applied)):
            entry = self.leader.log[self.leader.applied]
            result = self.leader.apply_next()
            if entry.kind is EntryKind.COMMAND:
                body = decode_command(entry.data).body
                if isinstance(body, CommitOffsets | ForgetGroup):
                    assert result == self.told().result

    @rule(data=st.data())
    def lose_leadership(self, data: st.DataObject) -> None:
        kept = data.draw(st.integers(self.leader.applied, len(self.leader.log)))
        self.apply(kept - self.leader.applied)
        self.leader.fail_over(kept)

    @rule(data=st.data())
    def restart_from_a_snapshot(self, data: st.DataObject) -> None:
        applied = self.leader.log[: self.leader.applied]
        cut = data.draw(st.integers(0, len(applied)))
        snapshot = replay(applied[:cut], LIMITS).snapshot()
        restored = replay(applied[cut:], LIMITS, snapshot)
        assert restored.snapshot() == self.leader.state.snapshot()
        self.leader.state = restored
        self.leader.fail_over(self.leader.applied)

    @invariant()
    def groups_are_where_the_log_says(self) -> None:
        told = self.told()
        state = self.leader.state
        assert (state.log_start_offset, state.next_offset) == (told.start, told.end)
        known = {
            name: (group.generation, group.offset)
            for name in "abcd"
            if (group := state.consumer_group(name)) is not None
        }
        assert known == told.places
        assert len(known) == state.table_sizes().consumer_groups <= LIMITS.groups_max

    @invariant()
    def no_group_is_past_the_high_watermark(self) -> None:
        assert all(0 <= offset <= self.told().end for _, offset in self.told().places.values())


GroupHistory.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestGroupHistory = GroupHistory.TestCase
