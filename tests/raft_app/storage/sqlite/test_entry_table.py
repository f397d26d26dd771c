"""The rows of entries: checksum and query plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connections
from hypothesis import given
from hypothesis import strategies as st

from raft_app.core.types import Entry, EntryKind
from raft_app.storage.protocol import CorruptEntry
from raft_app.storage.sqlite import entry_table
from raft_app.storage.sqlite.entry_table import EntryTable, entry_id, entry_of, row_of
from tests.raft_app.storage.storage_harness import data_entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

entries = st.builds(
    Entry,
    index=st.integers(1, (1 << 40) - 1),
    term=st.integers(0, (1 << 63) - 1),
    kind=st.sampled_from(EntryKind),
    data=st.binary(max_size=50),
    base_offset=st.integers(0, (1 << 63) - 1),
    record_count=st.integers(0, (1 << 31) - 1),
    append_timestamp=st.integers(0, (1 << 63) - 1),
)


@pytest.fixture
def cursor(db: None) -> Iterator[CursorWrapper]:
    with connections["broker"].cursor() as cursor:
        yield cursor


@given(entries, st.integers(1, (1 << 23) - 1))
def test_row_gives_back_the_entry(entry: Entry, group_id: int) -> None:
    row = row_of(group_id, entry)
    assert row[0] == entry_id(group_id, entry.index) < 1 << 63
    assert entry_of(group_id, row) == entry


@given(entries, st.integers(0, 8), st.integers(0, 62))
def test_any_changed_bit_of_any_column_is_noticed(entry: Entry, column: int, bit: int) -> None:
    row = list(row_of(1, entry))
    if column == 8:
        data = row[8] or b"\x00"
        row[8] = bytes([data[0] ^ 1 << bit % 8]) + data[1:] if row[8] else b"\x00"
    else:
        row[column] ^= 1 << bit
    with pytest.raises(CorruptEntry):
        entry_of(1, tuple(row))


@pytest.mark.parametrize("column", range(1, 9))  # A row id is always a number.
@pytest.mark.parametrize("value", [None, "text", 1.5, 1 << 70])
def test_column_that_lost_its_type_is_noticed(column: int, value: object) -> None:
    row = list(row_of(1, data_entry(1)))
    row[column] = value
    with pytest.raises(CorruptEntry):
        entry_of(1, tuple(row))


@pytest.mark.django_db(databases=["default", "broker"])
def test_every_statement_goes_through_an_index(cursor: CursorWrapper) -> None:
    def plan(statement: str, *parameters: int) -> str:
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "; ".join(row[3] for row in cursor.fetchall())

    by_id = "SEARCH raft_app_raftentry USING INTEGER PRIMARY KEY"
    assert by_id in plan(entry_table._RANGE, 1, 2)
    assert by_id in plan(entry_table._TERM, 1)
    assert by_id in plan(entry_table._LAST_ID, 1, 2)
    assert by_id in plan(entry_table._DELETE, 1, 2)
    assert by_id in plan(entry_table._DELETE_OTHERS, 1, 2)
    assert by_id in plan(entry_table._ROW_FACTS, 1, 2, 3)
    log_range = plan(entry_table._LOG_RANGE, 1, 1, 2)
    assert by_id in log_range
    batches = plan(entry_table._BATCHES, 1, 1, 0, 1, 0, 9)
    assert batches.count("USING INDEX raft_entry_base_offset (group_id=? AND base_offset>") == 1
    assert batches.count("USING COVERING INDEX raft_entry_base_offset") == 1
    last_message = plan(entry_table._LAST_MESSAGE, 1)
    assert "USING INDEX raft_entry_base_offset (group_id=?)" in last_message
    scrub = plan(entry_table._SCRUB, 1, 1, 2)
    assert "SEARCH entry USING INTEGER PRIMARY KEY" in scrub
    for found in (log_range, batches, last_message, scrub):
        assert "SCAN" not in found.replace("SCALAR", "")
        assert "TEMP B-TREE" not in found


@pytest.mark.django_db(databases=["default", "broker"])
def test_group_has_its_own_range_of_rows(cursor: CursorWrapper) -> None:
    table = EntryTable(cursor)
    table.insert([row_of(group, data_entry(index)) for group in (1, 2, 3) for index in (1, 2, 3)])
    table.delete_from(2, 2)
    assert [table.last_index(group) for group in (1, 2, 3, 4)] == [3, 1, 3, 0]
    assert table.term_at(2, 1) == 1
    assert table.term_at(2, 2) is None
    assert [entry.index for entry in table.entries(3, 2, 99)] == [2, 3]
