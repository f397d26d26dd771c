from __future__ import annotations

import sqlite3

import pytest

from http_base.histogram import Histogram
from raft_app.core.types import Entry, EntryKind, HardState
from raft_app.storage.protocol import GroupWrite, SaveCheckpoint, StorageError
from raft_app.storage.rules import Plan, PlannedOperation
from raft_app.storage.sqlite.group_writes import GroupWrites, added_by, commit_directly

TABLES = """
CREATE TABLE raft_app_raftentry (id INTEGER PRIMARY KEY, group_id, term, kind, base_offset,
    record_count, append_timestamp, crc, data);
CREATE TABLE raft_app_raftgroup (group_id INTEGER PRIMARY KEY, term, vote, "commit",
    hard_state_crc);
INSERT INTO raft_app_raftgroup VALUES (1, 0, 0, 0, 0), (2, 0, 0, 0, 0);
"""


@pytest.fixture
def connection() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(TABLES)
    return connection


def entry(index: int) -> Entry:
    return Entry(index, 1, EntryKind.DATA, b"x", index - 1, 1, 5)


def added(*writes: GroupWrite) -> GroupWrites:
    found = added_by(Plan(steps=[PlannedOperation(write) for write in writes]))
    assert found is not None
    return found


COMMITS = Histogram()


def commit(connection: sqlite3.Connection, writes: GroupWrites) -> int:
    return commit_directly(connection, writes, COMMITS)


def count(connection: sqlite3.Connection, table: str) -> int:
    return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours


def test_entries_and_hard_states_of_all_groups_are_stored_together(connection):
    writes = (
        GroupWrite(1, HardState(3, 2, 1), (entry(1), entry(2))),
        GroupWrite(2, None, (entry(7),)),
        GroupWrite(1, HardState(3, 2, 2), ()),
    )
    before = COMMITS.cumulated()[-1]
    assert commit(connection, added(*writes)) > 0
    assert COMMITS.cumulated()[-1] == before + 1
    ids = connection.execute("SELECT id & 1099511627775, group_id FROM raft_app_raftentry")
    assert ids.fetchall() == [(1, 1), (2, 1), (7, 2)]
    states = connection.execute('SELECT term, vote, "commit" FROM raft_app_raftgroup')
    assert states.fetchall() == [(3, 2, 2), (0, 0, 0)]
    assert not connection.in_transaction


def test_a_lone_entry_is_one_statement_and_refused_as_a_whole(connection):
    commit(connection, added(GroupWrite(1, None, (entry(1),))))
    said: list[str] = []
    connection.set_trace_callback(said.append)
    before = COMMITS.cumulated()[-1]
    commit(connection, added(GroupWrite(1, None, (entry(2),))))
    assert [statement.split()[0] for statement in said] == ["INSERT"]
    assert COMMITS.cumulated()[-1] == before + 1
    with pytest.raises(sqlite3.IntegrityError):
        commit(connection, added(GroupWrite(1, None, (entry(2),))))
    assert not connection.in_transaction
    assert count(connection, "raft_app_raftentry") == 2


def test_a_lone_entry_with_a_hard_state_is_stored_with_it(connection):
    commit(connection, added(GroupWrite(1, HardState(3, 2, 1), (entry(1),))))
    assert count(connection, "raft_app_raftentry") == 1
    states = connection.execute('SELECT term, vote, "commit" FROM raft_app_raftgroup')
    assert states.fetchall() == [(3, 2, 1), (0, 0, 0)]


def test_a_group_without_a_row_undoes_the_whole_transaction(connection):
    lost = (GroupWrite(1, HardState(3, 2, 1), (entry(1),)), GroupWrite(9, HardState(1, 0, 0), ()))
    with pytest.raises(StorageError, match="2 hard states met 1 groups"):
        commit(connection, added(*lost))
    assert count(connection, "raft_app_raftentry") == 0
    assert not connection.in_transaction


def test_an_entry_that_is_there_already_undoes_the_whole_transaction(connection):
    commit(connection, added(GroupWrite(1, None, (entry(1),))))
    with pytest.raises(sqlite3.IntegrityError):
        commit(connection, added(GroupWrite(1, HardState(9, 0, 0), (entry(2), entry(1)))))
    assert count(connection, "raft_app_raftentry") == 1
    commit(connection, added(GroupWrite(1, None, (entry(2),))))
    assert count(connection, "raft_app_raftentry") == 2


def test_only_writes_that_replace_nothing_are_committed_directly():
    write = GroupWrite(1, None, (entry(1),))
    assert added_by(Plan(steps=[PlannedOperation(write), PlannedOperation(write)])) is not None
    assert (
        added_by(Plan(steps=[PlannedOperation(write), PlannedOperation(write, replaces=True)]))
        is None
    )
    assert added_by(Plan(steps=[PlannedOperation(SaveCheckpoint(1, None))])) is None
