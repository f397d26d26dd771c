"""Tests of the log: compaction, and a snapshot in its place."""

from __future__ import annotations

import random

import pytest

from raft_app.core.log import RaftLog
from raft_app.core.types import Entry, HardState, InitialState, Membership
from tests.raft_app.core.group import entries_of, stored

TERMS = (1, 1, 4, 4, 5, 5)


def applied_log(*, applied: int = 6, max_recent_bytes: int = 1 << 20) -> RaftLog:
    """Return a stored log with `TERMS`, all committed, applied up to an index."""
    log = RaftLog(stored(1, Membership(), TERMS), max_recent_bytes=max_recent_bytes)
    log.commit_to(6)
    log.take_committed()
    log.applied_to(applied)
    return log


def frozen_log(end: tuple[int, int] | None) -> RaftLog:
    """Return the log of a restart in the middle of an installation."""
    initial = InitialState(
        replica_id=1,
        hard_state=HardState(term=9, commit=7),
        membership=Membership(),
        membership_index=0,
        applied_index=4,
        first_index=5,
        previous_term=4,
        last_index=4,
        installing=True,
        acknowledged_end=end,
    )
    return RaftLog(initial, max_recent_bytes=1 << 20)


# --- compaction -------------------------------------------------------------------------------


@pytest.mark.parametrize("first_index", range(2, 8))
def test_a_compacted_log_knows_the_same_terms_from_the_one_before_its_beginning_on(
    first_index: int,
):
    log = applied_log()

    log.compact(first_index, TERMS[first_index - 2])

    assert [log.term_at(index) for index in range(8)] == [
        TERMS[index - 1] if first_index - 1 <= index <= 6 else None for index in range(8)
    ]
    assert (log.first_index, log.last_index, log.last_term) == (first_index, 6, 5)


def test_compaction_never_goes_back():
    log = applied_log()
    log.compact(5, 4)

    log.compact(3, 1)

    assert (log.first_index, log.previous_term) == (5, 4)


def test_only_what_is_applied_goes_and_with_the_right_term():
    log = applied_log(applied=4)

    with pytest.raises(AssertionError, match="applied"):
        log.compact(6, 5)
    with pytest.raises(AssertionError, match="term"):
        log.compact(5, 1)


def test_dropped_entries_leave_memory_and_its_limit_goes_on_to_hold():
    log = applied_log(max_recent_bytes=64 * 4)
    assert log.recent_first == 3

    log.compact(5, 4)

    assert log.recent_first == 5
    assert log.recent_entries(5, 1 << 20)[0] == entries_of(TERMS)[4:]
    log.append(entries_of([5] * 6, first_index=7))
    log.issue_write(None)
    log.persisted(1)
    log.commit_to(12)
    log.take_committed()
    log.applied_to(12)
    assert log.recent_first == 9


def test_a_log_of_nothing_goes_on_after_its_last_entry():
    log = applied_log()
    log.compact(7, 5)
    log.append(entries_of([5, 6], first_index=7))

    assert [log.term_at(index) for index in (5, 6, 7, 8)] == [None, 5, 5, 6]
    log.truncate(7)
    assert (log.last_index, log.last_term) == (6, 5)


@pytest.mark.parametrize("seed", range(100))
def test_the_last_possible_match_is_the_same_above_the_beginning(seed: int):
    chance = random.Random(seed)
    terms = sorted(chance.choices(range(1, 6), k=9))
    whole = RaftLog(stored(1, Membership(), terms), max_recent_bytes=1 << 20)
    short = RaftLog(stored(1, Membership(), terms), max_recent_bytes=1 << 20)
    short.commit_to(9)
    short.take_committed()
    short.applied_to(9)
    first_index = chance.randint(2, 10)
    short.compact(first_index, terms[first_index - 2])

    for index in range(first_index - 1, 11):
        for term in range(7):
            match = whole.last_possible_match(index, term)
            if match[0] >= first_index - 1:
                assert short.last_possible_match(index, term) == match
            else:
                assert short.last_possible_match(index, term)[0] == first_index - 1


# --- a snapshot in its place ------------------------------------------------------------------


def test_a_reset_log_begins_after_the_snapshot_with_everything_applied():
    log = applied_log(applied=4)
    log.append(entries_of([6, 6], first_index=7))
    log.freeze()

    log.reset(9, 7)

    assert (log.first_index, log.recent_first, log.last_index, log.last_term) == (10, 10, 9, 7)
    assert (log.commit_index, log.applied_index, log.durable_index) == (9, 9, 9)
    assert (log.term_at(8), log.term_at(9), log.term_at(10)) == (None, 7, None)
    assert log.uncommitted_bytes == 0
    assert not log.has_unwritten
    assert log.take_committed() == ()


def test_a_reset_log_takes_and_writes_what_follows():
    log = applied_log()
    log.freeze()
    log.reset(9, 7)

    log.append(entries_of([7, 8], first_index=10))
    write_id, entries = log.issue_write(None)
    log.persisted(write_id)

    assert [entry.index for entry in entries] == [10, 11]
    assert (log.durable_index, log.term_at(10), log.term_at(11)) == (11, 7, 8)


def test_earlier_writes_promise_nothing_about_the_log_after_the_snapshot():
    log = applied_log()
    log.append(entries_of([6] * 6, first_index=7))
    write_id, _ = log.issue_write(None)
    log.freeze()
    log.reset(9, 7)
    log.append(entries_of([7, 7], first_index=10))

    log.persisted(write_id)

    assert log.durable_index == 9


def test_what_is_applied_is_never_taken_back():
    log = applied_log(applied=6)
    log.freeze()

    with pytest.raises(AssertionError, match="taken back"):
        log.reset(6, 5)


def test_a_frozen_log_writes_and_hands_out_nothing_and_goes_on_when_it_thaws():
    log = applied_log(applied=6)
    log.append(entries_of([6], first_index=7))
    log.freeze()
    log.commit_to(7)

    assert not log.has_unwritten
    assert log.issue_write(HardState(6)) == (1, ())
    assert log.take_committed() == ()
    log.thaw()

    assert log.issue_write(None) == (2, (Entry(7, 6, entries_of([6])[0].kind),))
    log.persisted(2)
    assert [entry.index for entry in log.take_committed()] == [7]


@pytest.mark.parametrize(("last", "better"), [((5, 5), False), ((6, 5), True), ((1, 6), True)])
def test_a_frozen_log_compares_as_it_was(last: tuple[int, int], better: bool):
    log = applied_log()
    log.freeze()
    log.freeze()

    assert log.is_up_to_date(*last) is better
    assert frozen_log((6, 5)).is_up_to_date(*last) is better
    assert not frozen_log(None).is_up_to_date(*last)


@pytest.mark.parametrize(
    ("end", "snapshot", "leader_term", "covers"),
    [
        ((9, 3), (9, 3), 5, True),
        ((9, 3), (8, 3), 5, False),
        ((9, 3), (5, 5), 5, True),
        ((9, 5), (5, 5), 5, False),
        ((9, 3), (5, 4), 5, False),
        (None, (5, 5), 5, True),
        (None, (99, 4), 5, False),
    ],
)
def test_a_snapshot_makes_up_for_a_frozen_log_when_nothing_acknowledged_can_be_missing(
    end: tuple[int, int] | None, snapshot: tuple[int, int], leader_term: int, covers: bool
):
    assert frozen_log(end).makes_up_for_frozen(*snapshot, leader_term) is covers
