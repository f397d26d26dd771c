"""What a leader decides on a request, over what is applied and what is in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.admission import Admission, check_offset
from broker_app.partition.commands import (
    AppendResult,
    Command,
    CursorResult,
    ForgetIdle,
    OpenCursor,
    PopMessages,
    PopResult,
    ResetCursor,
    Start,
)
from broker_app.partition.limits import FORGET_AFTER_MS, StateLimits
from broker_app.partition.speculation import AppendEffect, CommandEffect, Speculation
from broker_app.partition.state import PartitionData
from myqueue.contract.errors import (
    CursorMoved,
    OffsetOutOfRange,
    OutOfOrderSequence,
    Overloaded,
    ProducerFenced,
    UnknownProducer,
)
from myqueue.contract.records import request_digest
from raft_app.statemachine import CommandAnswer, Join
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from myqueue.contract.records import BatchHeader

LIMITS = StateLimits(producers_max=3, cursors_max=2, request_ids_max=3)


class Desk:
    """Decides, puts what it admits in flight, and applies it when told; term 4, indexes from 1."""

    def __init__(self, limits: StateLimits | None = None) -> None:
        self.data, self.speculation = PartitionData(), Speculation()
        self.admission = Admission(self.data, self.speculation, limits or StateLimits())
        self.flying: list[tuple[tuple[int, int], BatchHeader | Command]] = []
        self.index = 0
        self.clock_ms = 0

    def batch(self, count: int = 1, **stamp: Any) -> Any:
        header = batch_of(*"x" * count, **stamp).header
        decision = self.admission.batch(header)
        if decision is None:
            self.fly(header, AppendEffect(header, 1))
        return decision

    def pop(self, consumer_id: int, first: int, end: int, request_id: str = "") -> Any:
        digest = request_digest(request_id) if request_id else b""
        pop = PopMessages(consumer_id, first, end, digest)
        decision = self.admission.pop(pop)
        if decision is None:
            effect = CommandEffect(self.clock_ms, 1, consumer_id, end, digest)
            self.fly(Command(self.clock_ms, pop), effect)
        return decision

    def fly(self, entry: BatchHeader | Command, effect: AppendEffect | CommandEffect) -> None:
        self.index += 1
        position = (self.index, 4)
        self.speculation.extend(effect, position)
        self.flying.append((position, entry))

    def land(self) -> None:
        """Apply everything in flight."""
        for position, entry in self.flying:
            self.speculation.release(position)
            if isinstance(entry, Command):
                self.data.execute(entry, 1, index=position[0])
            else:
                self.data.append(entry, 1)
        self.flying.clear()

    def forget_idle(self) -> None:
        idle = ForgetIdle(self.clock_ms - FORGET_AFTER_MS)
        self.data.execute(Command(self.clock_ms, idle), 1, index=self.index + 1)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def small() -> Desk:
    """Room for 3 producers, 2 cursors, 3 request ids; five messages are there."""
    desk = Desk(LIMITS)
    desk.batch(5)
    desk.land()
    return desk


# --- sequences ---------------------------------------------------------------------------------


def test_duplicate_joins_in_flight_and_is_answered_once_applied(desk: Desk) -> None:
    assert desk.batch(2, sequence=0) is None
    assert desk.batch(1, sequence=2) is None
    assert desk.batch(2, sequence=0) == Join(1, 4)
    assert desk.batch(1, sequence=2) == Join(2, 4)
    desk.land()
    assert desk.batch(2, sequence=0) == CommandAnswer(AppendResult(0, 2))
    assert desk.batch(1, sequence=2) == CommandAnswer(AppendResult(2, 1))


def test_duplicate_of_an_applied_batch_is_answered_with_later_ones_in_flight(desk: Desk) -> None:
    desk.batch(2, sequence=0)
    desk.land()
    desk.batch(1, sequence=2)
    assert desk.batch(2, sequence=0) == CommandAnswer(AppendResult(0, 2))
    assert desk.batch(1, sequence=2) == Join(2, 4)


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(("sequence", "count"), [(0, 1), (0, 3), (1, 1), (1, 2), (4, 1), (99, 1)])
def test_batch_cut_otherwise_or_after_a_gap_is_out_of_order(
    desk: Desk, applied: bool, sequence: int, count: int
) -> None:
    desk.batch(2, sequence=0)
    desk.batch(1, sequence=2)
    if applied:
        desk.land()
    with pytest.raises(OutOfOrderSequence) as refused:
        desk.batch(count, sequence=sequence)
    assert refused.value.details == {"expected_sequence": 3}
    assert len(desk.speculation) == (0 if applied else 2), "what is refused was not proposed"


def test_duplicate_older_than_the_last_five_applied_is_out_of_order(desk: Desk) -> None:
    for sequence in range(6):
        desk.batch(sequence=sequence)
    assert desk.batch(sequence=0) == Join(1, 4), "all in flight are known"
    desk.land()
    assert desk.batch(sequence=1) == CommandAnswer(AppendResult(1, 1))
    with pytest.raises(OutOfOrderSequence):
        desk.batch(sequence=0)


@pytest.mark.parametrize("epoch", [0, 3])
def test_unknown_producer_begins_at_zero_in_any_epoch(desk: Desk, epoch: int) -> None:
    with pytest.raises(UnknownProducer) as refused:
        desk.batch(sequence=1, epoch=epoch)
    assert refused.value.details == {"expected_sequence": 0}
    assert desk.batch(sequence=0, epoch=epoch) is None


@pytest.mark.parametrize("applied", [False, True])
def test_higher_epoch_must_begin_at_zero_and_the_lower_is_fenced_from_then_on(
    desk: Desk, applied: bool
) -> None:
    desk.batch(2, sequence=0)
    if applied:
        desk.land()
    for sequence in (1, 2):
        with pytest.raises(OutOfOrderSequence) as refused:
            desk.batch(sequence=sequence, epoch=2)
        assert refused.value.details == {"expected_sequence": 0}
    assert desk.batch(2, sequence=2) is None, "a refused epoch fences nobody"
    assert desk.batch(2, sequence=0, epoch=2) is None, "not a duplicate of the lower epoch's"
    for sequence in (0, 2, 4):
        for epoch in (0, 1):
            with pytest.raises(ProducerFenced) as fenced:
                desk.batch(2, sequence=sequence, epoch=epoch)
            assert fenced.value.details == {"producer_epoch": 2}
    assert isinstance(desk.batch(2, sequence=0, epoch=2), Join)
    desk.land()
    assert desk.batch(2, sequence=0, epoch=2) == CommandAnswer(AppendResult(4, 2))
    with pytest.raises(ProducerFenced):
        desk.batch(sequence=4)


def test_batch_of_an_earlier_epoch_never_answers_for_one_of_a_later(desk: Desk) -> None:
    desk.batch(2, sequence=0)
    desk.land()
    for sequence in (0, 1, 2):
        desk.batch(sequence=sequence, epoch=1)
    with pytest.raises(OutOfOrderSequence):
        desk.batch(2, sequence=0, epoch=1)


def test_batches_lost_with_the_leadership_are_taken_anew(desk: Desk) -> None:
    desk.batch(sequence=0)
    desk.land()
    desk.batch(sequence=1)
    desk.batch(sequence=0, epoch=1)
    desk.speculation.clear()
    assert desk.batch(sequence=1) is None
    assert desk.admission.expected_sequence(1, 0) == 2


def test_expected_sequence_is_of_the_epoch_that_is_asked_for(desk: Desk) -> None:
    assert desk.admission.expected_sequence(1, 0) == 0
    desk.batch(3, sequence=0, epoch=1)
    assert desk.admission.expected_sequence(1, 1) == 3
    desk.land()
    assert [desk.admission.expected_sequence(1, epoch) for epoch in (0, 1, 2)] == [0, 3, 0]


# --- request ids -------------------------------------------------------------------------------


def test_request_id_joins_in_flight_and_answers_once_applied_whatever_the_batch(
    desk: Desk,
) -> None:
    assert desk.batch(2, request_id="r") is None
    assert desk.batch(1, request_id="r") == Join(1, 4)
    assert desk.batch(2, request_id="r", producer_id=2) is None
    desk.land()
    assert desk.batch(1, request_id="r") == CommandAnswer(AppendResult(0, 2))


def test_batch_without_sequence_or_request_id_is_always_new(desk: Desk) -> None:
    for _ in range(3):
        assert desk.batch() is None
        assert desk.batch(producer_id=0, request_id="of nobody") is None
    desk.land()
    assert not len(desk.data.produce_requests)
    assert not len(desk.data.producers)


def test_pop_with_a_request_id_joins_and_answers_though_the_cursor_went_on(desk: Desk) -> None:
    desk.batch(5)
    desk.land()
    assert desk.pop(5, 0, 2, "r") is None
    assert desk.pop(5, 0, 2, "r") == Join(2, 4)
    assert desk.pop(5, 2, 3) is None
    desk.land()
    assert desk.pop(5, 3, 5, "r") == CommandAnswer(PopResult(0, 2))
    assert desk.pop(6, 0, 1, "r") is None, "of another consumer"


def test_sixteen_pops_of_a_consumer_are_answered_and_the_one_before_is_not(desk: Desk) -> None:
    desk.batch(20)
    desk.land()
    for offset in range(17):
        desk.pop(5, offset, offset + 1, f"r{offset}")
    assert desk.pop(5, 0, 1, "r0") == Join(2, 4), "in flight all are known"
    desk.land()
    assert [desk.pop(5, 17, 18, f"r{n}") for n in range(1, 17)] == [
        CommandAnswer(PopResult(n, n + 1)) for n in range(1, 17)
    ]
    with pytest.raises(CursorMoved):
        desk.pop(5, 0, 1, "r0")


# --- cursors -----------------------------------------------------------------------------------


def test_pop_begins_where_those_in_flight_will_end(desk: Desk) -> None:
    desk.batch(5)
    desk.land()
    assert desk.pop(5, 0, 2) is None
    with pytest.raises(CursorMoved) as refused:
        desk.pop(5, 0, 2)
    assert refused.value.details == {"offset": 2}
    assert desk.pop(5, 2, 4) is None
    assert desk.admission.cursor(5) == 4
    assert desk.data.cursor(5) == 0


def test_cursor_behind_the_log_start_is_at_the_log_start(desk: Desk) -> None:
    desk.batch(5)
    desk.land()
    desk.data.cursors[5], desk.data.log_start_offset = 1, 3
    assert desk.admission.cursor(5) == desk.admission.cursor(6) == 3
    with pytest.raises(CursorMoved):
        desk.pop(5, 1, 4)
    assert desk.pop(5, 3, 4) is None


def test_open_cursor_is_answered_only_when_one_is_applied(desk: Desk) -> None:
    assert desk.admission.open_cursor(OpenCursor(5, Start.LATEST)) is None
    desk.data.cursors[5] = 0
    answer = desk.admission.open_cursor(OpenCursor(5, Start.LATEST))
    assert answer == CommandAnswer(CursorResult(0, moved=False))


def test_reset_is_refused_off_the_log_and_off_what_is_expected(desk: Desk) -> None:
    desk.batch(5)
    desk.land()
    desk.data.log_start_offset = 2
    for offset in (-1, 1, 6):
        with pytest.raises(OffsetOutOfRange) as outside:
            desk.admission.reset_cursor(ResetCursor(5, offset))
        assert outside.value.details == {"log_start_offset": 2, "high_watermark": 5}
    for offset in (2, 5):
        desk.admission.reset_cursor(ResetCursor(5, offset))
        check_offset(desk.data, offset)
    desk.pop(5, 2, 4)
    with pytest.raises(CursorMoved):
        desk.admission.reset_cursor(ResetCursor(5, 3, expected=2))
    desk.admission.reset_cursor(ResetCursor(5, 3, expected=4))


# --- limits ------------------------------------------------------------------------------------


def test_producers_in_flight_count_once_and_the_known_are_served_on(small: Desk) -> None:
    small.batch(producer_id=1, sequence=0)
    small.land()
    for sequence in (0, 1):
        small.batch(producer_id=2, sequence=sequence)
    small.batch(producer_id=1, sequence=1)
    assert small.batch(producer_id=3, sequence=0) is None, "one applied and one new in flight"
    for _ in range(2):
        with pytest.raises(Overloaded) as refused:
            small.batch(producer_id=4, sequence=0)
        assert refused.value.retry_after_ms
        small.land()
    assert small.batch(producer_id=3, sequence=1) is None
    assert small.batch(producer_id=2, sequence=0, epoch=1) is None
    with pytest.raises(UnknownProducer):
        small.batch(producer_id=4, sequence=9)


def test_cursors_in_flight_count_and_the_known_move_on(small: Desk) -> None:
    small.pop(5, 0, 1)
    small.pop(5, 1, 2)
    small.pop(6, 0, 1)
    for _ in range(2):
        with pytest.raises(Overloaded, match=r"DELETE /consumers/\{id\}.*QUEUE_FORGET_AFTER_S"):
            small.pop(7, 0, 1)
        with pytest.raises(Overloaded):
            small.admission.open_cursor(OpenCursor(7, Start.LATEST))
        with pytest.raises(Overloaded):
            small.admission.reset_cursor(ResetCursor(7, 0))
        assert small.admission.cursor(6) == 1
        small.land()
    assert small.pop(6, 1, 2) is None
    small.admission.reset_cursor(ResetCursor(5, 0))


def test_request_ids_of_producers_and_consumers_share_one_limit(small: Desk) -> None:
    small.batch(request_id="a")
    small.land()
    small.batch(request_id="b")
    small.pop(5, 0, 1, "c")
    for _ in range(2):
        with pytest.raises(Overloaded):
            small.batch(request_id="d")
        with pytest.raises(Overloaded):
            small.pop(5, 1, 2, "d")
        small.land()
    assert small.batch(request_id="b") == CommandAnswer(AppendResult(6, 1)), (
        "what is known is answered"
    )
    assert small.pop(5, 1, 2, "c") == CommandAnswer(PopResult(0, 1))
    assert small.batch() is None, "without one nothing is needed"
    assert small.pop(5, 1, 2) is None


def test_client_whose_ids_replace_its_own_needs_no_more_room(small: Desk) -> None:
    limits = StateLimits(request_ids_max=16)
    desk = Desk(limits)
    desk.batch(20)
    desk.land()
    for offset in range(16):
        desk.pop(5, offset, offset + 1, f"r{offset}")
        desk.land()
    with pytest.raises(Overloaded):
        desk.pop(6, 0, 1, "r")
    assert desk.pop(5, 16, 17, "r16") is None


def test_full_tables_take_new_clients_when_all_entries_are_ten_minutes_old(small: Desk) -> None:
    for producer_id in (1, 2, 3):
        small.batch(producer_id=producer_id, sequence=0)
    small.land()
    small.forget_idle()
    small.clock_ms = FORGET_AFTER_MS
    small.forget_idle()
    with pytest.raises(Overloaded):
        small.batch(producer_id=4, sequence=0)
    assert small.batch(producer_id=1, sequence=0) == CommandAnswer(AppendResult(5, 1))
    small.clock_ms += 1
    small.forget_idle()
    assert small.batch(producer_id=4, sequence=0) is None
    with pytest.raises(UnknownProducer):
        small.batch(producer_id=1, sequence=1)
