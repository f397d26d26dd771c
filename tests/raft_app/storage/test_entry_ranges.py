"""Prefixes of ranges of entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_app.storage.entry_ranges import batches_within, entries_within
from raft_app.storage.protocol import CorruptEntry
from tests.raft_app.storage.storage_harness import data_entry, noop


@given(st.lists(st.integers(0, 300), max_size=8), st.integers(1, 1_000))
def test_entries_are_the_longest_prefix_within_the_limit(sizes: list[int], limit: int) -> None:
    found = [data_entry(index, data=b"x" * size) for index, size in enumerate(sizes, start=5)]
    read = entries_within(1, 5, limit, found)
    assert read == found[: len(read)]
    assert (len(read) >= 1) == bool(found)
    assert len(read) <= 1 or sum(entry.size_bytes for entry in read) <= limit
    if len(read) < len(found):
        assert sum(entry.size_bytes for entry in found[: len(read) + 1]) > limit


def test_entries_that_begin_elsewhere_are_none() -> None:
    assert entries_within(1, 4, 1_000, [noop(5), noop(6)]) == []


def test_entry_missing_in_between_is_corruption() -> None:
    with pytest.raises(CorruptEntry, match="entry 6 of group 1 is missing"):
        entries_within(1, 5, 1_000, [noop(5), noop(7)])


def test_batches_that_do_not_contain_the_offset_are_none() -> None:
    found = [data_entry(1, offset=10, record_count=5), data_entry(2, offset=15)]
    assert batches_within(1, 9, 1_000, found) == []
    assert [batch.base_offset for batch in batches_within(1, 14, 1_000, found)] == [10, 15]
    assert batches_within(1, 15, 1_000, found[:1]) == []


def test_offsets_missing_in_between_are_corruption() -> None:
    with pytest.raises(CorruptEntry, match="offset 12 of group 1"):
        batches_within(
            1,
            11,
            1_000,
            [data_entry(1, offset=10, record_count=2), data_entry(2, offset=13)],
        )
