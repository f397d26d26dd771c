"""Which rows one step deletes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_app.core.types import EntryKind
from raft_app.storage.compaction import (
    Budget,
    RowFacts,
    check_previous_term,
    is_dead,
    log_begins_at,
    messages_end_at,
)
from raft_app.storage.protocol import StorageError
from tests.raft_app.storage.storage_harness import compact


def row(index: int, kind: EntryKind = EntryKind.DATA, *, size_bytes: int = 100) -> RowFacts:
    return RowFacts(index, kind.value, end_offset=index, size_bytes=size_bytes)


rows = st.lists(
    st.tuples(st.sampled_from(EntryKind), st.integers(64, 500)), min_size=1, max_size=20
).map(
    lambda found: [row(index, kind, size_bytes=size) for index, (kind, size) in enumerate(found, 5)]
)


@given(rows, st.integers(1, 25), st.integers(1, 3_000))
def test_step_of_the_log_keeps_to_its_limits_and_comes_on(
    log: list[RowFacts], max_rows: int, max_bytes: int
) -> None:
    budget = Budget(max_rows=max_rows, max_bytes=max_bytes)
    reached = log_begins_at(5, log, budget)
    gone = [one for one in log if one.index < reached and not one.is_message]
    assert reached > 5
    assert reached - 5 <= max_rows
    assert len(gone) <= 1 or sum(one.size_bytes for one in gone) <= max_bytes
    assert budget.deleted_rows == len(gone)
    assert budget.deleted_bytes == sum(one.size_bytes for one in gone)


@given(rows, st.integers(0, 30), st.integers(1, 25), st.integers(1, 3_000))
def test_step_of_the_messages_takes_the_first_dead_ones(
    found: list[RowFacts], log_start_offset: int, max_rows: int, max_bytes: int
) -> None:
    messages = [one for one in found if one.is_message]
    budget = Budget(max_rows=max_rows, max_bytes=max_bytes)
    last_index = messages_end_at(log_start_offset, messages, budget)
    gone = [one for one in messages if one.index <= last_index]
    dead = [one for one in messages if is_dead(one, log_start_offset)]
    assert gone == dead[: len(gone)]
    assert bool(gone) == bool(dead)
    assert len(gone) <= max_rows
    assert len(gone) <= 1 or sum(one.size_bytes for one in gone) <= max_bytes


def test_step_ends_before_a_missing_entry() -> None:
    budget = Budget(max_rows=10, max_bytes=1_000)
    assert log_begins_at(5, [row(5), row(7)], budget) == 6
    assert log_begins_at(5, [row(6)], budget) == 5
    assert log_begins_at(5, [], budget) == 5


def test_both_parts_of_a_step_share_its_limits() -> None:
    budget = Budget(max_rows=3, max_bytes=250)
    assert log_begins_at(5, [row(5, EntryKind.NOOP), row(6)], budget) == 7
    assert messages_end_at(99, [row(1), row(2)], budget) == 1
    assert (budget.rows, budget.deleted_rows, budget.deleted_bytes) == (0, 2, 200)


def test_term_is_compared_where_the_caller_knows_it() -> None:
    check_previous_term(compact(9, term=3), 8, 2)
    check_previous_term(compact(9, term=3), 9, 3)
    with pytest.raises(StorageError, match="entry 8 of group 1 has term 2, not 3"):
        check_previous_term(compact(9, term=3), 9, 2)
