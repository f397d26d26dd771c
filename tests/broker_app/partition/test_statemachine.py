"""The state machine of a partition: decisions of its leader, and what the log means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker_app.partition.commands import (
    AppendResult,
    CursorResult,
    ForgetClient,
    ForgetIdle,
    OpenCursor,
    PopMessages,
    PopResult,
    ResetCursor,
    Start,
)
from broker_app.partition.limits import FORGET_AFTER_MS, StateLimits
from broker_app.partition.statemachine import PartitionState
from myqueue.contract.errors import (
    CursorMoved,
    OffsetOutOfRange,
    OutOfOrderSequence,
    Overloaded,
    ProducerFenced,
    UnknownProducer,
)
from myqueue.contract.records import request_digest
from raft_app.core.types import Entry, EntryKind
from raft_app.statemachine import CommandAnswer, InconsistentEntry, Join, Propose
from tests.broker_app.replica import SPEC, Leader, batch_of, replay

DIGEST = request_digest("request-1")


@pytest.fixture
def leader() -> Leader:
    return Leader()


def test_batches_get_contiguous_offsets_before_any_is_applied(leader: Leader) -> None:
    offsets = [leader.decide(batch_of(*"abc"[:count])).proposal.base_offset for count in (3, 1, 2)]
    assert offsets == [0, 3, 4]
    assert leader.state.next_offset == 0
    assert leader.apply_all() == AppendResult(4, 2)
    assert leader.state.next_offset == 6


def test_append_timestamps_never_go_back(leader: Leader) -> None:
    stamps = []
    for leader.now_ms in (500, 400, 600):
        stamps.append(leader.decide(batch_of("a")).proposal.append_timestamp)
    leader.apply_all()
    leader.now_ms = 10
    stamps.append(leader.decide(batch_of("a")).proposal.append_timestamp)
    assert stamps == [500, 500, 600, 600]


def test_entry_at_a_wrong_offset_is_inconsistent(leader: Leader) -> None:
    leader.decide(batch_of("a"))
    state = PartitionState(SPEC, limits=StateLimits())
    with pytest.raises(InconsistentEntry, match="offset 1"):
        state.apply(replace(leader.log[0], base_offset=1))
    with pytest.raises(InconsistentEntry, match="2 messages"):
        state.apply(replace(leader.log[0], record_count=2))
    with pytest.raises(InconsistentEntry, match="cannot be read"):
        state.apply(replace(leader.log[0], data=leader.log[0].data[:-1]))


def test_unreadable_command_or_snapshot_is_inconsistent(leader: Leader) -> None:
    entry = Entry(index=1, term=1, kind=EntryKind.COMMAND, data=b"\x09\x90")
    with pytest.raises(InconsistentEntry, match="version"):
        leader.state.apply(entry)
    with pytest.raises(InconsistentEntry, match="not a command"):
        leader.state.apply(replace(entry, data=b"\x01\x92\x00\x91\x63"))
    for snapshot in (b"\x09", b"\x01", b"\x01\x90"):
        with pytest.raises(InconsistentEntry):
            PartitionState(SPEC, snapshot, limits=StateLimits())


# --- sequences ---------------------------------------------------------------------------------


def test_retry_of_an_applied_batch_is_answered_with_its_offset(leader: Leader) -> None:
    first = leader.run(batch_of("a", "b", sequence=0))
    leader.run(batch_of("c", sequence=2))
    assert leader.decide(batch_of("a", "b", sequence=0)) == CommandAnswer(first)
    assert len(leader.log) == 2


def test_retry_of_a_batch_in_flight_joins_it(leader: Leader) -> None:
    leader.decide(batch_of("a", "b", sequence=0))
    leader.decide(batch_of("c", sequence=2))
    assert leader.decide(batch_of("a", "b", sequence=0)) == Join(1, 1)
    assert leader.decide(batch_of("c", sequence=2)) == Join(2, 1)


def test_sequences_count_messages_and_must_go_on_exactly(leader: Leader) -> None:
    leader.run(batch_of("a", "b", "c", sequence=0))
    with pytest.raises(OutOfOrderSequence) as refused:
        leader.decide(batch_of("d", sequence=4))
    assert refused.value.details["expected_sequence"] == 3
    with pytest.raises(OutOfOrderSequence):
        leader.decide(batch_of("a", "b", sequence=0))
    with pytest.raises(OutOfOrderSequence):
        leader.decide(batch_of("b", sequence=1))


def test_only_the_last_five_batches_of_a_producer_are_remembered(leader: Leader) -> None:
    for sequence in range(7):
        leader.run(batch_of("a", sequence=sequence))
    assert leader.decide(batch_of("a", sequence=2)) == CommandAnswer(AppendResult(2, 1))
    with pytest.raises(OutOfOrderSequence):
        leader.decide(batch_of("a", sequence=1))


def test_unknown_producer_must_begin_at_sequence_zero(leader: Leader) -> None:
    with pytest.raises(UnknownProducer):
        leader.decide(batch_of("a", sequence=1))
    assert leader.run(batch_of("a", sequence=0)) == AppendResult(0, 1)


def test_higher_epoch_starts_at_zero_and_fences_the_lower_one(leader: Leader) -> None:
    leader.run(batch_of("a", sequence=0))
    with pytest.raises(OutOfOrderSequence):
        leader.decide(batch_of("b", epoch=1, sequence=1))
    leader.decide(batch_of("b", epoch=1, sequence=0))
    with pytest.raises(ProducerFenced) as refused:
        leader.decide(batch_of("c", sequence=1))
    assert refused.value.details["producer_epoch"] == 1
    leader.apply_all()
    with pytest.raises(ProducerFenced):
        leader.decide(batch_of("a", sequence=0))
    assert leader.run(batch_of("b", epoch=1, sequence=0)) == AppendResult(1, 1)


def test_listener_hears_of_sequenced_batches_that_entered_the_log(leader: Leader) -> None:
    heard: list[tuple[int, int]] = []
    leader.state.on_sequence = lambda *told: heard.append(told)
    leader.decide(batch_of("a"))
    leader.decide(batch_of("a", producer_id=3, sequence=0))
    assert heard == [(7, 3)]


# --- request ids -------------------------------------------------------------------------------


def test_produce_with_the_same_request_id_is_appended_once(leader: Leader) -> None:
    leader.decide(batch_of("a", "b", request_id="r"))
    assert leader.decide(batch_of("a", "b", request_id="r")) == Join(1, 1)
    leader.apply_all()
    assert leader.decide(batch_of("a", "b", request_id="r")) == CommandAnswer(AppendResult(0, 2))
    assert isinstance(leader.decide(batch_of("a", producer_id=2, request_id="r")), Propose)


def test_last_hundred_requests_of_a_producer_are_remembered(leader: Leader) -> None:
    for number in range(101):
        leader.run(batch_of("a", request_id=f"r{number}"))
    assert leader.decide(batch_of("a", request_id="r1")) == CommandAnswer(AppendResult(1, 1))
    assert isinstance(leader.decide(batch_of("a", request_id="r0")), Propose)


def test_produce_without_sequence_or_request_id_leaves_no_trace(leader: Leader) -> None:
    leader.run(batch_of("a"))
    assert leader.state.table_sizes()._asdict() == {
        "consumer_groups": 0,
        "cursors": 0,
        "producers": 0,
        "request_ids": 0,
    }


# --- cursors -----------------------------------------------------------------------------------


def test_pop_moves_the_cursor_once_and_repeats_its_range(leader: Leader) -> None:
    leader.run(batch_of("a", "b", "c", "d"))
    assert leader.decide(PopMessages(5, 0, 3, DIGEST)).proposal.kind is EntryKind.COMMAND
    assert leader.state.cursor(5) == 3
    assert leader.state.applied_cursor(5) == 0
    assert leader.decide(PopMessages(5, 3, 4, DIGEST)) == Join(2, 1)
    assert leader.apply_all() == PopResult(0, 3)
    assert leader.decide(PopMessages(5, 3, 4, DIGEST)) == CommandAnswer(PopResult(0, 3))
    assert leader.state.popped(5, DIGEST) == PopResult(0, 3)
    assert leader.state.cursor(5) == leader.state.applied_cursor(5) == 3


def test_pop_from_elsewhere_is_refused_and_if_applied_moves_nothing(leader: Leader) -> None:
    leader.run(batch_of("a", "b"))
    pop = leader.decide(PopMessages(5, 0, 1)).proposal
    leader.append(pop)
    leader.apply_next()
    assert leader.apply_next() == PopResult(0, 0)
    assert leader.state.cursor(5) == 1
    with pytest.raises(CursorMoved):
        leader.decide(PopMessages(5, 0, 1))


def test_consumers_have_cursors_of_their_own(leader: Leader) -> None:
    leader.run(batch_of("a", "b"))
    leader.run(PopMessages(5, 0, 2))
    assert leader.state.cursor(6) == 0
    assert leader.run(PopMessages(6, 0, 1)) == PopResult(0, 1)


def test_last_sixteen_pops_of_a_consumer_are_remembered(leader: Leader) -> None:
    leader.run(batch_of(*"abcdefghijklmnopq"))
    digests = [request_digest(f"r{number}") for number in range(17)]
    for number, digest in enumerate(digests):
        leader.run(PopMessages(5, number, number + 1, digest))
    assert leader.state.popped(5, digests[0]) is None
    assert leader.state.popped(5, digests[1]) == PopResult(1, 2)


def test_cursor_opened_at_latest_skips_what_is_in_the_log_before(leader: Leader) -> None:
    leader.run(batch_of("a"))
    leader.decide(batch_of("b"))
    leader.decide(OpenCursor(5, Start.LATEST))
    leader.decide(batch_of("c"))
    assert leader.state.cursor(5) == 2
    leader.apply_all()
    assert leader.state.applied_cursor(5) == 2
    assert leader.decide(OpenCursor(5, Start.EARLIEST)) == CommandAnswer(
        CursorResult(2, moved=False)
    )
    assert leader.run(OpenCursor(6, Start.EARLIEST)) == CursorResult(0, moved=True)


def test_reset_moves_a_cursor_that_is_where_it_is_expected(leader: Leader) -> None:
    leader.run(batch_of("a", "b", "c"))
    leader.run(PopMessages(5, 0, 2))
    with pytest.raises(CursorMoved) as refused:
        leader.decide(ResetCursor(5, 0, expected=1))
    assert refused.value.details["offset"] == 2
    with pytest.raises(OffsetOutOfRange) as outside:
        leader.decide(ResetCursor(5, 4))
    assert outside.value.details == {"log_start_offset": 0, "high_watermark": 3}
    assert leader.run(ResetCursor(5, 1, expected=2)) == CursorResult(1, moved=True)
    assert leader.run(PopMessages(5, 1, 3)) == PopResult(1, 3)


def test_forgotten_clients_begin_anew(leader: Leader) -> None:
    leader.run(batch_of("a", sequence=0))
    leader.run(batch_of("a", request_id="r"))
    leader.run(PopMessages(5, 0, 1, DIGEST))
    leader.run(ForgetClient(producer_id=1))
    leader.run(ForgetClient(consumer_id=5))
    assert leader.state.table_sizes()._asdict() == {
        "consumer_groups": 0,
        "cursors": 0,
        "producers": 0,
        "request_ids": 0,
    }
    assert leader.state.cursor(5) == 0
    assert isinstance(leader.decide(batch_of("a", sequence=0)), Propose)


# --- limits ------------------------------------------------------------------------------------


def test_full_tables_refuse_new_clients_and_serve_the_known(leader: Leader) -> None:
    leader = Leader(StateLimits(producers_max=2, cursors_max=1, request_ids_max=2))
    leader.run(batch_of("a", producer_id=1, sequence=0))
    leader.decide(batch_of("a", producer_id=2, sequence=0))
    with pytest.raises(Overloaded, match=r"2 producers .* no room for producer 3") as refused:
        leader.decide(batch_of("a", producer_id=3, sequence=0))
    assert refused.value.details["limit"] == 2
    leader.decide(batch_of("a", producer_id=2, sequence=1))
    leader.apply_all()
    leader.run(PopMessages(5, 0, 1, DIGEST))
    with pytest.raises(Overloaded, match=r"1 cursors .* no room for consumer 6"):
        leader.decide(PopMessages(6, 0, 1))
    leader.decide(batch_of("a", request_id="r1"))
    with pytest.raises(Overloaded):
        leader.decide(batch_of("a", request_id="r2"))
    assert leader.decide(batch_of("a", request_id="r1")) == Join(len(leader.log), 1)


def test_entries_younger_than_ten_minutes_are_never_forgotten(leader: Leader) -> None:
    leader = Leader(StateLimits(producers_max=2, request_ids_max=2))
    leader.run(batch_of("a", producer_id=1, sequence=0))
    leader.run(batch_of("a", producer_id=1, request_id="r"))
    leader.clock_ms += FORGET_AFTER_MS
    leader.run(ForgetIdle())
    leader.run(batch_of("a", producer_id=2, sequence=0))
    assert leader.state.is_filling()
    assert leader.state.table_sizes()._asdict() == {
        "consumer_groups": 0,
        "cursors": 0,
        "producers": 2,
        "request_ids": 1,
    }
    leader.clock_ms += FORGET_AFTER_MS
    leader.run(ForgetIdle())
    assert leader.state.table_sizes().producers == 2, "their age is known from here on"
    leader.clock_ms += 1
    leader.run(ForgetIdle())
    assert leader.state.table_sizes()._asdict() == {
        "consumer_groups": 0,
        "cursors": 0,
        "producers": 1,
        "request_ids": 0,
    }
    assert leader.decide(batch_of("a", producer_id=2, sequence=0)) == CommandAnswer(
        AppendResult(2, 1)
    )


def test_partition_clock_stands_still_between_leaders(leader: Leader) -> None:
    leader.run(ForgetIdle())
    leader.clock_ms += 5_000
    leader.run(ForgetIdle())
    assert leader.state._data.clock_ms == 5_000
    leader.fail_over(len(leader.log))
    leader.clock_ms = 3
    leader.run(ForgetIdle())
    assert leader.state._data.clock_ms == 5_000
    leader.clock_ms += 70
    leader.run(ForgetIdle())
    assert leader.state._data.clock_ms == 5_070
    follower = replay(leader.log, leader.limits)
    assert follower.snapshot() == leader.state.snapshot()


# --- leadership --------------------------------------------------------------------------------


def test_lost_proposals_vanish_from_the_leaders_view(leader: Leader) -> None:
    leader.run(batch_of("a", sequence=0, producer_id=1))
    leader.decide(batch_of("b", sequence=1, producer_id=1))
    leader.decide(PopMessages(5, 0, 1, DIGEST))
    leader.fail_over(1)
    assert leader.state.cursor(5) == 0
    assert leader.run(batch_of("B", sequence=1, producer_id=1)) == AppendResult(1, 1)
    assert leader.run(PopMessages(5, 0, 2, DIGEST)) == PopResult(0, 2)


def test_entries_of_an_earlier_term_are_applied_below_the_new_view(leader: Leader) -> None:
    leader.decide(batch_of("a", sequence=0))
    leader.decide(batch_of("b", sequence=1))
    leader.fail_over(2)
    assert leader.decide(batch_of("b", sequence=1)) == CommandAnswer(AppendResult(1, 1))
    assert leader.decide(batch_of("c", sequence=2)).proposal.base_offset == 2


def test_a_restored_state_counts_on_nothing_that_was_proposed_before(leader: Leader) -> None:
    leader.run(batch_of("a", sequence=0, producer_id=1))
    snapshot = leader.state.snapshot()
    leader.decide(batch_of("b", sequence=1, producer_id=1))
    leader.decide(PopMessages(5, 0, 1, DIGEST))
    leader.state.restore(snapshot)
    retry = leader.decide(batch_of("b", sequence=1, producer_id=1))
    assert isinstance(retry, Propose), "nobody will apply what was under way before"
    assert retry.proposal.base_offset == 1
    assert isinstance(leader.decide(PopMessages(5, 0, 1, DIGEST)), Propose)
