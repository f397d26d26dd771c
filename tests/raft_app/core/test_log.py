"""Tests of the log: terms, overwriting, what is durable, what stays in memory."""

from __future__ import annotations

import random

import pytest

from raft_app.core.log import RaftLog
from raft_app.core.types import Entry, EntryKind, HardState, InitialState, Membership, bytes_of
from tests.raft_app.core.group import entries_of, stored


def log_of(*terms: int, max_recent_bytes: int = 1 << 20) -> RaftLog:
    """Return a stored log with these terms, nothing committed."""
    return RaftLog(stored(1, Membership(), terms), max_recent_bytes=max_recent_bytes)


def compacted_log() -> RaftLog:
    """Return a log that starts at index 11, after an entry of term 3, and ends at 13."""
    entries = entries_of([3, 4, 4], first_index=11)
    initial = InitialState(
        replica_id=1,
        hard_state=HardState(term=4, commit=12),
        membership=Membership(),
        membership_index=0,
        applied_index=10,
        first_index=11,
        previous_term=3,
        term_starts=((11, 3), (12, 4)),
        last_index=13,
        entries=entries,
    )
    return RaftLog(initial, max_recent_bytes=1 << 20)


# --- terms ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "term"), [(0, 0), (1, 1), (2, 1), (3, 4), (5, 5), (6, 5), (7, None)]
)
def test_the_log_knows_the_term_of_each_entry(index: int, term: int | None):
    assert log_of(1, 1, 4, 4, 5, 5).term_at(index) == term


def test_an_empty_log_ends_at_index_zero_of_term_zero():
    log = log_of()

    assert (log.last_index, log.last_term, log.term_at(0), log.term_at(1)) == (0, 0, 0, None)


def test_a_compacted_log_knows_the_term_before_its_first_index_and_no_earlier_one():
    log = compacted_log()

    assert [log.term_at(index) for index in (9, 10, 11, 12, 13, 14)] == [None, 3, 3, 4, 4, None]
    assert (log.commit_index, log.applied_index) == (12, 10)


@pytest.mark.parametrize(
    ("index", "term", "match"),
    [
        (6, 5, (6, 5)),
        (9, 9, (6, 5)),
        (6, 4, (4, 4)),
        (6, 3, (2, 1)),
        (6, 1, (2, 1)),
        (3, 4, (3, 4)),
        (3, 2, (2, 1)),
        (6, 0, (0, 0)),
        (0, 0, (0, 0)),
    ],
)
def test_the_last_possible_match_skips_terms_that_are_too_high(
    index: int, term: int, match: tuple[int, int]
):
    assert log_of(1, 1, 4, 4, 5, 5).last_possible_match(index, term) == match


def test_the_last_possible_match_agrees_with_a_search_from_the_end():
    for seed in range(200):
        chance = random.Random(seed)
        terms = sorted(chance.randrange(1, 6) for _ in range(chance.randrange(1, 12)))
        log = log_of(*terms)
        index, term = chance.randrange(0, 14), chance.randrange(0, 7)

        known = [0, *terms]
        expected = next(i for i in range(min(index, len(terms)), -1, -1) if known[i] <= term)

        assert log.last_possible_match(index, term) == (expected, known[expected]), seed


def test_the_last_possible_match_of_a_compacted_log_ends_before_its_first_index():
    log = compacted_log()

    assert log.last_possible_match(13, 3) == (11, 3)
    assert log.last_possible_match(13, 2) == (10, 3)
    assert log.last_possible_match(7, 9) == (7, 0)


@pytest.mark.parametrize("seed", range(100))
def test_terms_stay_right_through_random_growth_and_cuts(seed: int):
    chance = random.Random(seed)
    log = log_of()
    model: list[Entry] = []
    term = 1
    for _ in range(40):
        term += chance.randrange(2)
        cut = chance.randrange(len(model) + 1)
        if cut < len(model):
            log.truncate(cut + 1)
            del model[cut:]
        new = entries_of([term] * chance.randrange(1, 4), first_index=len(model) + 1)
        log.append(new)
        model += new
        assert [log.term_at(entry.index) for entry in model] == [entry.term for entry in model]
        assert (log.last_index, log.last_term) == (len(model), model[-1].term)
        assert log.uncommitted_bytes == sum(entry.size_bytes for entry in model)
        assert log.pending_bytes == log.uncommitted_bytes


@pytest.mark.parametrize(
    ("last", "is_good"),
    [((3, 2), True), ((2, 2), False), ((9, 1), False), ((1, 3), True), ((4, 2), True)],
)
def test_a_log_is_up_to_date_by_last_term_then_length(last: tuple[int, int], is_good: bool):
    assert log_of(1, 2, 2).is_up_to_date(*last) is is_good


# --- overwriting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first_index", "terms", "new_from"),
    [
        (4, [2], 4),
        (2, [2, 2], None),
        (2, [2, 2, 2], 4),
        (2, [2, 3], 3),
        (1, [2], 1),
        (2, [], None),
    ],
)
def test_only_what_the_log_lacks_is_new(first_index: int, terms: list[int], new_from: int | None):
    new = log_of(1, 2, 2).not_in_log(entries_of(terms, first_index=first_index))

    assert (new[0].index if new else None) == new_from


def test_committed_entries_are_never_overwritten():
    log = log_of(1, 1, 1)
    log.commit_to(2)

    with pytest.raises(AssertionError, match="committed entries never change"):
        log.truncate(2)


def test_gaps_and_falling_terms_are_refused():
    with pytest.raises(AssertionError, match="contiguous"):
        log_of(1).append(entries_of([1], first_index=3))
    with pytest.raises(AssertionError, match="never fall"):
        log_of(2).append(entries_of([1], first_index=2))


# --- durability ---------------------------------------------------------------------------------


def test_entries_are_durable_when_their_write_is():
    log = log_of(1)
    log.append(entries_of([1, 1], first_index=2))
    write_id, entries = log.issue_write(None)

    assert [entry.index for entry in entries] == [2, 3]
    assert log.durable_index == 1
    log.persisted(write_id)
    assert log.durable_index == 3


def test_each_entry_goes_into_one_write():
    log = log_of(1)
    log.append(entries_of([1], first_index=2))
    log.issue_write(None)
    assert not log.has_unwritten

    log.append(entries_of([1], first_index=3))

    assert log.issue_write(None) == (2, entries_of([1], first_index=3))


def test_an_earlier_completion_never_vouches_for_a_later_write_of_the_same_index():
    log = log_of(1)
    log.append(entries_of([2, 2, 2], first_index=2))
    first, _ = log.issue_write(None)
    log.truncate(3)
    log.append(entries_of([3, 3], first_index=3))
    second, entries = log.issue_write(None)

    assert [entry.index for entry in entries] == [3, 4]
    log.persisted(first)
    assert log.durable_index == 2
    log.persisted(second)
    assert log.durable_index == 4


def test_an_entry_that_returns_after_being_overwritten_is_not_durable_before_its_last_write():
    """The same (index, term) is written, overwritten and written again (ABA)."""
    log = log_of(1)
    writes = []
    for terms in ([2], [3], [4]):
        if log.last_index > 1:
            log.truncate(2)
        log.append(entries_of(terms, first_index=2))
        writes.append(log.issue_write(None)[0])

    durable = []
    for write_id in writes:
        log.persisted(write_id)
        durable.append(log.durable_index)

    assert durable == [1, 1, 2]


def test_overwriting_durable_entries_lowers_the_durable_index():
    log = log_of(1, 1, 1)
    log.truncate(2)

    assert log.durable_index == 1


def test_one_report_may_cover_several_writes():
    log = log_of(1)
    for index in (2, 3, 4):
        log.append(entries_of([1], first_index=index))
        log.issue_write(HardState(term=index, vote=1))
    log.persisted(3)

    assert log.durable_index == 4
    assert log.has_durable_vote(4, 1)


def test_a_vote_is_durable_with_its_write_and_not_before():
    log = log_of(1)
    write_id, _ = log.issue_write(HardState(term=5, vote=2))

    assert not log.has_durable_vote(5, 2)
    log.persisted(write_id)
    assert log.has_durable_vote(5, 2)
    assert not log.has_durable_vote(5, 1)


def test_a_write_that_was_not_issued_cannot_be_durable():
    with pytest.raises(AssertionError, match="no such write"):
        log_of(1).persisted(1)


# --- committing, applying, memory -----------------------------------------------------------------


def test_committed_entries_are_handed_out_once_and_only_when_durable():
    log = log_of(1)
    log.append(entries_of([1, 1], first_index=2))
    write_id, _ = log.issue_write(None)
    log.commit_to(3)

    assert [entry.index for entry in log.take_committed()] == [1]
    assert log.take_committed() == ()
    log.persisted(write_id)
    assert [entry.index for entry in log.take_committed()] == [2, 3]
    assert log.take_committed() == ()


def test_the_commit_index_never_falls_and_stays_in_the_log():
    log = log_of(1, 1, 1)

    assert log.commit_to(2)
    assert not log.commit_to(1)
    assert log.commit_index == 2
    with pytest.raises(AssertionError):
        log.commit_to(4)


def test_a_stored_commit_index_beyond_the_log_is_only_a_hint():
    initial = InitialState(1, HardState(commit=9), Membership(), 0)

    assert RaftLog(initial, max_recent_bytes=1).commit_index == 0


def test_only_applied_entries_leave_memory_and_only_beyond_the_limit():
    log = log_of(*[1] * 10, max_recent_bytes=3 * 64)
    log.commit_to(8)
    log.take_committed()
    assert log.recent_first == 1

    log.applied_to(3)
    assert log.recent_first == 1
    log.applied_to(7)
    assert log.recent_first == 5
    log.applied_to(8)

    assert log.recent_first == 6
    assert [entry.index for entry in log.recent_entries(6, 1 << 20)[0]] == [6, 7, 8, 9, 10]
    assert log.term_at(1) == 1


def test_applying_ahead_of_what_was_handed_out_is_a_bug_of_the_caller():
    log = log_of(1, 1)
    log.commit_to(1)
    log.take_committed()

    with pytest.raises(AssertionError):
        log.applied_to(2)


@pytest.mark.parametrize(("max_bytes", "count"), [(1, 1), (64, 1), (128, 2), (200, 3), (999, 4)])
def test_entries_are_read_up_to_a_size_and_at_least_one(max_bytes: int, count: int):
    entries, size_bytes = log_of(1, 1, 1, 1, 1).recent_entries(2, max_bytes)

    assert [entry.index for entry in entries] == list(range(2, 2 + count))
    assert size_bytes == bytes_of(entries)


def test_uncommitted_bytes_count_data_and_overhead_above_the_commit_index():
    log = log_of()
    log.append([Entry(1, 1, EntryKind.DATA, b"x" * 36), Entry(2, 1, EntryKind.NOOP)])

    assert log.uncommitted_bytes == 100 + 64
    log.commit_to(1)
    assert log.uncommitted_bytes == 64
    log.truncate(2)
    assert log.uncommitted_bytes == 0


def test_what_is_in_memory_is_pending_until_it_is_applied_and_recent_until_it_leaves():
    log = log_of(*[1] * 10)
    assert (log.pending_bytes, log.recent_bytes) == (640, 0)
    log.commit_to(8)
    log.take_committed()
    assert (log.pending_bytes, log.recent_bytes) == (640, 0)
    log.applied_to(6)
    assert (log.pending_bytes, log.recent_bytes) == (4 * 64, 6 * 64)

    log.keep_recent(2 * 64)
    assert (log.recent_first, log.recent_bytes) == (5, 2 * 64)
    log.applied_to(8)
    assert (log.recent_first, log.recent_bytes, log.pending_bytes) == (7, 2 * 64, 2 * 64)
    log.truncate(10)
    log.compact(9, 1)
    assert (log.pending_bytes, log.recent_bytes) == (64, 0)
    log.reset(12, 3)
    assert (log.pending_bytes, log.recent_bytes) == (0, 0)
