"""A copy of a database that changes meanwhile: whole, and as of one moment for each replica."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from raft_app.core.types import HardState
from raft_app.storage.protocol import DeleteGroup, GroupSpec, SaveCheckpoint, StorageRefusal
from raft_app.storage.sqlite import live_copy
from raft_app.storage.sqlite.database import FILE_NAME, WAL_NAME
from raft_app.storage.sqlite.live_copy import copy_database
from raft_app.storage.sqlite.storage import SqliteStorage
from tests.raft_app.storage.storage_harness import (
    append,
    checkpoint_at,
    compact,
    create,
    data_entry,
    noop,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from raft_app.storage.protocol import Operation, StoredGroup


@pytest.fixture(autouse=True)
def _with_databases(
    django_db_blocker: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setattr(live_copy, "SLICE_BYTES", 1)
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SqliteStorage]:
    storage = SqliteStorage(tmp_path / "broker")
    storage.open()
    yield storage
    storage.close()


def filled(storage: SqliteStorage, *, group_id: int = 1, count: int = 6, commit: int = 4) -> None:
    entries = tuple(data_entry(index) for index in range(1, count + 1))
    storage.write([create(group_id, entries=entries)])
    state = HardState(term=1, vote=1, commit=commit)
    storage.write([append(group_id=group_id, hard_state=state)])


def copied(
    storage: SqliteStorage, pause: Callable[[int], None] = lambda size: None
) -> dict[int, StoredGroup]:
    """Copy the database, and return what a storage finds in the copy."""
    target = storage.directory.parent / "copy"
    target.mkdir()
    copy_database(storage.directory / FILE_NAME, target / FILE_NAME, pause=pause)
    again = SqliteStorage(target)
    again.open()
    try:
        return {one.spec.group_id: one for one in again.load_groups()}
    finally:
        again.close()


def once(storage: SqliteStorage, *operations: Operation) -> Callable[[int], None]:
    """Return a pause in which the broker writes something, the first time."""
    left = [operations]

    def pause(_: int) -> None:
        if left:
            for one in left.pop():
                storage.write([one])

    return pause


def test_a_copy_has_what_the_original_had(storage: SqliteStorage) -> None:
    filled(storage)
    filled(storage, group_id=2, count=1, commit=0)
    before = {one.spec.group_id: one for one in storage.load_groups()}
    assert copied(storage) == before
    assert {one.faulty for one in before.values()} == {""}


def test_what_is_added_meanwhile_is_in_it(storage: SqliteStorage) -> None:
    filled(storage)
    more = append(data_entry(7), hard_state=HardState(term=1, vote=1, commit=7))
    found = copied(storage, once(storage, more))[1]
    assert (found.faulty, found.initial.last_index, found.initial.hard_state.commit) == ("", 7, 7)


def test_a_tail_that_is_replaced_meanwhile_is_the_new_one(storage: SqliteStorage) -> None:
    filled(storage)
    state = HardState(term=2, vote=2, commit=5)
    other = append(data_entry(5, term=2, data=b"other"), noop(6, term=2), hard_state=state)
    found = copied(storage, once(storage, other))[1]
    assert found.faulty == ""
    assert [(one.index, one.term) for one in found.initial.entries][-2:] == [(5, 2), (6, 2)]


def test_a_log_that_is_compacted_meanwhile_begins_where_it_says(storage: SqliteStorage) -> None:
    storage.write([create(1, entries=(noop(1), noop(2), data_entry(3, offset=0), noop(4)))])
    storage.write([append(hard_state=HardState(term=1, vote=1, commit=4))])
    steps = (SaveCheckpoint(1, checkpoint_at(3)), compact(4))
    found = copied(storage, once(storage, *steps))[1]
    assert (found.faulty, found.initial.first_index, found.initial.last_index) == ("", 4, 4)


def test_a_replica_that_is_dropped_meanwhile_is_left_out(storage: SqliteStorage) -> None:
    filled(storage)
    filled(storage, group_id=2)
    assert set(copied(storage, once(storage, DeleteGroup(1)))) == {2}


def test_a_replica_that_is_replaced_meanwhile_is_the_new_one(storage: SqliteStorage) -> None:
    filled(storage)
    new = create(1, replica_id=9, entries=(data_entry(1, data=b"new"),))
    found = copied(storage, once(storage, DeleteGroup(1), new))[1]
    assert found.spec == GroupSpec(1, 9, topic="orders", partition=0)
    assert found.faulty == ""
    assert [one.data for one in found.initial.entries] == [b"new"]


def test_one_that_is_replaced_again_and_again_is_no_copy(storage: SqliteStorage) -> None:
    filled(storage)
    numbers = iter(range(2, 100))

    def pause(_: int) -> None:
        number = next(numbers)
        storage.write([DeleteGroup(1)])
        entries = (data_entry(1), data_entry(2))
        storage.write([create(1, replica_id=number, entries=entries)])
        storage.write([append(hard_state=HardState(term=1, vote=1, commit=2))])

    with pytest.raises(StorageRefusal, match="again and again"):
        copied(storage, pause)


def test_no_slice_holds_up_the_writing_back(storage: SqliteStorage) -> None:
    filled(storage)

    def pause(_: int) -> None:
        assert storage._database.checkpoint_wal()

    copied(storage, pause)


def test_the_files_of_a_broker_that_died_stay_as_they_are(
    storage: SqliteStorage, tmp_path: Path
) -> None:
    filled(storage)
    dead = tmp_path / "dead"
    shutil.copytree(storage.directory, dead)
    wal = (dead / WAL_NAME).read_bytes()
    assert wal
    copy_database(dead / FILE_NAME, tmp_path / "copy.sqlite3", pause=lambda size: None)
    assert (dead / WAL_NAME).read_bytes() == wal
    again = SqliteStorage(dead)
    again.open()
    assert [one.faulty for one in again.load_groups()] == [""]
    again.close()


def test_what_is_no_database_of_a_broker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageRefusal, match="there is no"):
        copy_database(tmp_path / "none", tmp_path / "copy", pause=lambda size: None)
    (tmp_path / "empty").touch()
    with pytest.raises(StorageRefusal, match="no database of a broker"):
        copy_database(tmp_path / "empty", tmp_path / "copy", pause=lambda size: None)
