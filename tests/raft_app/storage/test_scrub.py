"""Rows that a scrub misses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raft_app.core.types import EntryKind
from raft_app.storage.protocol import CorruptEntry, Scrubbed, ScrubMark
from raft_app.storage.scrub import Bounds, Scrub
from tests.raft_app.storage.storage_harness import data_entry, noop

if TYPE_CHECKING:
    from raft_app.core.types import Entry

MIB = 1 << 20
BEGINNING = ScrubMark()


def scrub(
    rows: list[Entry],
    *,
    after: ScrubMark = BEGINNING,
    max_bytes: int = MIB,
    first_index: int = 1,
    log_start_offset: int = 0,
    installing: bool = False,
) -> Scrubbed:
    bounds = Bounds(first_index, log_start_offset, installing)
    found = ((bounds, row) for row in rows if row.index >= after.index)
    return Scrub(1, after, max_bytes).run(found)


def sound(count: int, *, first_index: int) -> list[Entry]:
    """Messages alone below `first_index`, every kind above."""
    rows: list[Entry] = []
    offset = 0
    for index in range(1, count + 1):
        if index % 3 == 0:
            if index >= first_index:
                rows.append(noop(index))
            continue
        rows.append(data_entry(index, offset=offset, record_count=2))
        offset += 2
    return rows


@given(
    count=st.integers(1, 30),
    first_index=st.integers(1, 31),
    missing=st.integers(0, 29),
    max_bytes=st.integers(1, 1_000),
)
@example(count=3, first_index=3, missing=1, max_bytes=1)
@example(count=25, first_index=24, missing=15, max_bytes=1)  # a step ends between two messages
def test_any_missing_row_but_the_last_is_found(
    count: int, first_index: int, missing: int, max_bytes: int
) -> None:
    rows = sound(count, first_index=first_index)
    lost = missing < len(rows) - 1
    if lost:
        del rows[missing]
        # Up to `first_index` messages alone are stored one behind the other, so it takes a message
        # to miss one.
        after = rows[missing:]
        lost = after[0].index > first_index or any(row.kind is EntryKind.DATA for row in after)
    caught = False
    mark, complete, seen = BEGINNING, False, 0
    while not complete and not caught:
        try:
            step = scrub(rows, after=mark, max_bytes=max_bytes, first_index=first_index)
        except CorruptEntry:
            caught = True
            continue
        mark, complete, seen = step.mark, step.complete, seen + step.rows
        assert step.rows > 0 or complete
    assert caught == lost
    if not lost:
        assert (mark.index, seen) == (rows[-1].index, len(rows))


def test_what_a_step_knew_counts_as_long_as_its_last_entry_is_there() -> None:
    rows = [noop(9), data_entry(10, offset=7)]
    with pytest.raises(CorruptEntry, match="offset 5 of group 1 is not stored"):
        scrub(rows, after=ScrubMark(9, rows[0].term, end_offset=5), first_index=9)
    other_term = rows[0].term + 1  # what stood there was replaced, and what came before it
    step = scrub(rows, after=ScrubMark(9, other_term, end_offset=5), first_index=9)
    assert step == Scrubbed(ScrubMark(10, rows[1].term, end_offset=8), 1, complete=True)


def test_hole_below_the_log_start_does_no_harm() -> None:
    rows = [data_entry(1, offset=0), data_entry(9, offset=5), data_entry(10, offset=6)]
    assert scrub(rows, first_index=11, log_start_offset=6).complete
    assert scrub(rows, first_index=11, log_start_offset=5).complete
    with pytest.raises(CorruptEntry, match="offset 1 of group 1 is not stored"):
        scrub(rows, first_index=11, log_start_offset=4)


def test_messages_that_begin_above_the_log_start_are_not_all() -> None:
    with pytest.raises(CorruptEntry, match="offset 3 of group 1 is not stored"):
        scrub([data_entry(9, offset=4)], first_index=10, log_start_offset=3)


def test_offset_that_comes_twice_is_found() -> None:
    rows = [data_entry(1, offset=0, record_count=3), data_entry(2, offset=2)]
    with pytest.raises(CorruptEntry, match="offset 3"):
        scrub(rows)


def test_indexes_of_messages_in_place_have_gaps() -> None:
    rows = [data_entry(1, offset=0), data_entry(5, offset=1), data_entry(9, offset=2)]
    assert scrub(rows, installing=True).complete
    with pytest.raises(CorruptEntry, match="entry 2 of group 1 is missing"):
        scrub(rows)
