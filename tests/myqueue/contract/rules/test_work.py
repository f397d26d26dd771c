"""The work of one group, against a twin that keeps a state for every message and looks at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from myqueue.contract.rules.work import (
    DONE,
    SUPERSEDED,
    UNKNOWN,
    Choice,
    Outcome,
    Receipt,
    SettleKind,
    Work,
    WorkCounts,
    format_receipt,
    parse_receipts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ORIGIN = 17
ACK, NACK, EXTEND = SettleKind
ROOM = 6


@dataclass
class MessageTwin:
    """One message: what it is, how often it was delivered, when it comes back."""

    state: str = "new"
    number: int = 0
    visible_at_ms: int = 0


@dataclass
class WorkTwin:
    """The same work, told in the simplest way."""

    limit: int = 5
    missed: int = 0
    messages: list[MessageTwin] = field(default_factory=list)

    def count(self, *states: str) -> int:
        return sum(message.state in states for message in self.messages)

    def bury(self, clock_ms: int) -> None:
        for message in self.messages:
            if (
                message.state == "out"
                and message.number >= self.limit
                and message.visible_at_ms <= clock_ms
            ):
                message.state = "dead"

    def deliverable(self, clock_ms: int) -> list[int]:
        return [
            offset
            for offset, message in enumerate(self.messages)
            if message.state == "out"
            and message.number < self.limit
            and message.visible_at_ms <= clock_ms
        ]

    def choose(self, clock_ms: int, max_messages: int) -> list[int]:
        again = self.deliverable(clock_ms)[:max_messages]
        room = ROOM - self.count("out", "dead")
        new = [offset for offset, message in enumerate(self.messages) if message.state == "new"]
        return again + new[: max(0, min(room, max_messages - len(again)))]

    def receive(
        self, chosen: list[int], clock_ms: int, visibility_ms: int
    ) -> list[tuple[int, int]]:
        self.bury(clock_ms)
        delivered = []
        for offset in chosen:
            message = self.messages[offset]
            if message.state == "new" or offset in self.deliverable(clock_ms):
                message.state, message.number = "out", message.number + 1
                message.visible_at_ms = clock_ms + visibility_ms
                delivered.append((offset, message.number))
        return delivered

    def settle(self, kind: SettleKind, receipt: Receipt, at_ms: int) -> Outcome:
        if receipt.origin != ORIGIN or receipt.offset >= len(self.messages):
            return UNKNOWN
        message = self.messages[receipt.offset]
        if message.state == "new":
            return UNKNOWN
        if message.state == "dead":
            return Outcome(kind is NACK and receipt.attempt == message.number, "dead")
        if message.state == "settled":
            return Outcome(kind is ACK, "settled")
        if receipt.attempt != message.number:
            return SUPERSEDED if receipt.attempt < message.number else UNKNOWN
        if kind is ACK:
            message.state = "settled"
        elif kind is NACK and message.number >= self.limit:
            message.state = "dead"
            return Outcome(True, "dead")
        else:
            message.visible_at_ms = at_ms
        return DONE

    def truncate(self, log_start_offset: int) -> None:
        for message in self.messages[:log_start_offset]:
            if message.state != "settled":
                message.state = "settled"
                self.missed += 1


class AgainstTwin(RuleBasedStateMachine):
    """Everything that can happen to work, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.work, self.twin = Work(ORIGIN, 0), WorkTwin()
        self.clock_ms = 0

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        self.twin.messages += [MessageTwin() for _ in range(count)]

    @rule(elapsed=st.integers(0, 30))
    def wait(self, elapsed: int) -> None:
        self.clock_ms += elapsed

    @rule(limit=st.integers(1, 3))
    def configure(self, limit: int) -> None:
        self.work.configure(limit, "elsewhere")
        self.twin.limit = limit

    @rule(count=st.integers(1, 4), visibility=st.integers(0, 40), ahead=st.integers(0, 20))
    def receive(self, count: int, visibility: int, ahead: int) -> None:
        # The leader's clock may be ahead of what the log has seen; the command carries it.
        self.clock_ms += ahead
        self.deliver(self.choose(count), visibility)

    @rule(
        again=st.lists(st.integers(0, 6), unique=True, max_size=4),
        shift=st.integers(-2, 1),
        count=st.integers(0, 4),
        visibility=st.integers(0, 40),
    )
    def receive_what_was_chosen_elsewhere(
        self, again: list[int], shift: int, count: int, visibility: int
    ) -> None:
        next_offset = self.work.next_offset
        known = tuple(offset for offset in again if offset < next_offset)
        begin = max(0, next_offset + shift)
        self.deliver(Choice(known, begin, begin + count), visibility)

    @rule(ahead=st.integers(0, 40), count=st.integers(1, 4))
    def look_ahead_and_lose_leadership(self, ahead: int, count: int) -> None:
        self.work.choose(self.clock_ms + ahead, end=self.end, max_messages=count, room=ROOM)
        self.work.comes_back_at(self.clock_ms + ahead)
        self.work.dies_at(self.clock_ms + ahead)

    @rule(
        kind=st.sampled_from(SettleKind),
        places=st.lists(
            st.tuples(st.sampled_from([ORIGIN, 3]), st.integers(0, 8), st.integers(0, 4)),
            max_size=3,
        ),
        delay=st.integers(0, 40),
    )
    def settle(self, kind: SettleKind, places: Sequence[tuple[int, int, int]], delay: int) -> None:
        receipts = [Receipt(*place) for place in places]
        expected = [self.twin.settle(kind, receipt, self.clock_ms + delay) for receipt in receipts]
        assert self.work.settle(kind, receipts, self.clock_ms, delay_ms=delay) == expected

    @rule(kind=st.sampled_from(SettleKind), delay=st.integers(0, 40))
    def settle_what_is_out(self, kind: SettleKind, delay: int) -> None:
        places = [
            (ORIGIN, offset, message.number)
            for offset, message in enumerate(self.twin.messages)
            if message.state == "out"
        ]
        self.settle(kind, places[:2], delay)

    @rule()
    def expire(self) -> None:
        self.twin.bury(self.clock_ms)
        self.work.expire(self.clock_ms)

    @rule()
    def copy_the_dead(self) -> None:
        self.work.dead_copied([*self.work.dead])
        for message in self.twin.messages:
            if message.state == "dead":
                message.state = "settled"

    @rule(count=st.integers(0, 4))
    def truncate(self, count: int) -> None:
        begin = min(self.work.offset + count, self.end)
        self.work.truncate(begin)
        self.twin.truncate(begin)

    @rule()
    def skip_one(self) -> None:
        begin = self.work.next_offset
        if begin < self.end:
            assert self.work.pass_over(Choice((), begin, begin), begin + 1) == 1
            self.twin.messages[begin].state = "settled"
        assert not self.work.pass_over(Choice((), begin - 1, begin - 1), self.end)

    @rule()
    def restart(self) -> None:
        row = self.work.row()
        self.work = Work.load(row)
        assert self.work.row() == row

    @invariant()
    def agrees(self) -> None:
        work, twin = self.work, self.twin
        out = {
            offset: (message.number, message.visible_at_ms)
            for offset, message in enumerate(twin.messages)
            if message.state == "out"
        }
        assert work.unsettled == out
        assert work.dead == {
            offset: message.number
            for offset, message in enumerate(twin.messages)
            if message.state == "dead"
        }
        states = [message.state for message in twin.messages]
        assert work.next_offset == next(
            (offset for offset, state in enumerate(states) if state == "new"), self.end
        )
        assert work.offset == next(
            (offset for offset, state in enumerate(states) if state != "settled"), self.end
        )
        assert work.missed == twin.missed
        again = [at for number, at in out.values() if number < twin.limit]
        last = [at for number, at in out.values() if number >= twin.limit]
        assert work.comes_back_at(self.clock_ms) == soonest(again, self.clock_ms)
        assert work.dies_at(self.clock_ms) == soonest(last, self.clock_ms)
        assert work.has_last_chances == bool(last)

    @property
    def end(self) -> int:
        return len(self.twin.messages)

    def choose(self, count: int) -> Choice:
        choice = self.work.choose(self.clock_ms, end=self.end, max_messages=count, room=ROOM)
        assert flat(choice) == self.twin.choose(self.clock_ms, count)
        return choice

    def deliver(self, choice: Choice, visibility: int) -> None:
        new = range(self.work.next_offset, min(choice.new_to, self.end))
        chosen = [*choice.again, *(new if choice.new_from <= self.work.next_offset else ())]
        delivered = self.work.receive(choice, self.clock_ms, end=self.end, visibility_ms=visibility)
        assert delivered == self.twin.receive(chosen, self.clock_ms, visibility)


def flat(choice: Choice) -> list[int]:
    return [*choice.again, *range(choice.new_from, choice.new_to)]


def soonest(times: list[int], clock_ms: int) -> int | None:
    return max(min(times), clock_ms) if times else None


AgainstTwin.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAgainstTwin = AgainstTwin.TestCase


def receive(work: Work, clock_ms: int, **changes: Any) -> list[tuple[int, int]]:
    choice = work.choose(clock_ms, end=10, max_messages=changes.pop("count", 1), room=100)
    return work.receive(choice, clock_ms, end=10, visibility_ms=changes.pop("visibility", 100))


def test_a_message_not_acknowledged_in_time_is_delivered_again() -> None:
    work = Work(ORIGIN, 0)
    assert receive(work, 0) == [(0, 1)]
    assert receive(work, 99) == [(1, 1)]
    assert receive(work, 100, count=2) == [(0, 2), (2, 1)]


def test_an_acknowledgement_counts_after_the_time_until_another_has_the_message() -> None:
    work = Work(ORIGIN, 0)
    receive(work, 0, count=2)
    assert work.settle(ACK, [Receipt(ORIGIN, 0, 1)], 500) == [DONE]
    assert receive(work, 600) == [(1, 2)]
    assert work.settle(ACK, [Receipt(ORIGIN, 1, 1)], 600) == [SUPERSEDED]
    assert work.settle(ACK, [Receipt(ORIGIN, 1, 2)] * 2, 600) == [DONE, Outcome(True, "settled")]
    assert work.offset == 2


def test_two_choices_of_the_same_messages_deliver_them_once() -> None:
    work = Work(ORIGIN, 0)
    first = work.choose(0, end=10, max_messages=3, room=100)
    assert work.choose(0, end=10, max_messages=3, room=100) == first
    assert len(work.receive(first, 0, end=10, visibility_ms=10)) == 3
    assert work.receive(first, 0, end=10, visibility_ms=10) == []


def test_the_limit_makes_a_message_dead_and_a_higher_one_gives_it_another_chance() -> None:
    work = Work(ORIGIN, 0)
    work.configure(1, "")
    receive(work, 0, count=2)
    assert work.settle(NACK, [Receipt(ORIGIN, 0, 1)], 5) == [Outcome(True, "dead")]
    assert work.settle(NACK, [Receipt(ORIGIN, 0, 1)], 5) == [Outcome(True, "dead")]
    assert work.dies_at(5) == 100
    work.configure(2, "")
    assert work.dies_at(5) is None
    assert receive(work, 100) == [(1, 2)]
    assert work.expire(200) == [1]
    assert work.dead == {0: 1, 1: 2}


def test_receipts_come_back_as_they_were_and_others_are_refused() -> None:
    receipts = [Receipt(ORIGIN, 41, 2), Receipt(1, 0, 1)]
    assert parse_receipts([format_receipt(receipt) for receipt in receipts]) == receipts
    for text in ("", "1.2", "1.2.3.4", "-1.2.3", "1.2.x", "1.2.\u0663", "1." + "9" * 19 + ".1"):
        with pytest.raises(ValueError, match=r".*"):
            parse_receipts([text])


def test_people_are_told_how_many_messages_are_in_each_state() -> None:
    work = Work(ORIGIN, 0)
    work.configure(2, "")
    receive(work, 0, count=4)
    work.settle(ACK, [Receipt(ORIGIN, 0, 1)], 10)
    work.settle(NACK, [Receipt(ORIGIN, 1, 1)], 10, delay_ms=500)
    assert work.counts(10, end=10) == WorkCounts(visible=6, in_flight=2, delayed=1, dead=0)
    assert work.counts(100, end=10) == WorkCounts(visible=8, in_flight=0, delayed=1, dead=0)
    loaded = Work.load(work.row()).counts(100, end=10)
    assert loaded == WorkCounts(visible=8, in_flight=1, delayed=0, dead=0), "not in snapshots"
    assert receive(work, 510, count=3) == [(1, 2), (2, 2), (3, 2)]
    assert work.counts(510, end=10) == WorkCounts(visible=6, in_flight=3, delayed=0, dead=0)
    work.settle(NACK, [Receipt(ORIGIN, 1, 2)], 520, delay_ms=500)
    assert work.counts(520, end=10) == WorkCounts(visible=6, in_flight=2, delayed=0, dead=1)
