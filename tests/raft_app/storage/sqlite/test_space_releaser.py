"""Disk space of deleted rows, on a real file."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from raft_app.storage.protocol import (
    DeleteGroup,
    ReleaseSpace,
    SaveCheckpoint,
    ScrubMark,
    StorageError,
)
from raft_app.storage.sqlite.storage import SqliteStorage
from tests.raft_app.storage.storage_harness import (
    SqliteDisk,
    append,
    checkpoint_at,
    compact,
    create,
    data_entry,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from raft_app.core.types import Entry

MIB = 1 << 20
MESSAGES = 400
MESSAGE_BYTES = 20_000


@pytest.fixture
def storage(tmp_path: Path, django_db_blocker: pytest.FixtureRequest) -> Iterator[SqliteStorage]:
    """Two groups of 8 MB each, interleaved in the file as if they had grown together."""
    with django_db_blocker.unblock():
        storage = SqliteStorage(tmp_path)
        storage.open()
        storage.write([create(1), create(2)])
        for first in range(1, MESSAGES, 20):
            found = entries(first, 20)
            storage.write([append(*found), append(*found, group_id=2)])
        storage.write([SaveCheckpoint(group, checkpoint_at(MESSAGES)) for group in (1, 2)])
        yield storage
        storage.close()


def entries(first_index: int, count: int) -> list[Entry]:
    return [
        data_entry(index, data=b"%07d" % index * (MESSAGE_BYTES // 7))
        for index in range(first_index, first_index + count)
    ]


def file_bytes(storage: SqliteStorage) -> int:
    return (storage.directory / "broker.sqlite3").stat().st_size


def pragma(storage: SqliteStorage, name: str) -> int:
    with storage._database.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")
        return cursor.fetchone()[0]


def release(storage: SqliteStorage) -> list[int]:
    """Give back all there is; return the pages in the file after each step."""
    pages = []
    left = True
    while left:
        storage.write([ReleaseSpace()])
        pages.append(pragma(storage, "page_count"))
        left = storage.release_left()
    return pages


def compact_all(storage: SqliteStorage, group_id: int, log_start_offset: int) -> None:
    operation = compact(MESSAGES + 1, group_id=group_id, log_start_offset=log_start_offset)
    storage.write([operation])
    while storage.compact_left(group_id):
        storage.write([operation])


def test_space_of_deleted_messages_goes_back_to_the_file_system(storage: SqliteStorage) -> None:
    storage.write([ReleaseSpace()])
    storage._database.checkpoint_wal()
    full = file_bytes(storage)
    assert full > 2 * MESSAGES * MESSAGE_BYTES
    compact_all(storage, 1, MESSAGES)
    compact_all(storage, 2, MESSAGES * 3 // 4)
    pages = release(storage)
    assert file_bytes(storage) == pages[-1] * 4096 < full * 0.2
    assert pragma(storage, "freelist_count") <= pages[-1] // 10 + 1
    kept = storage.read_rows(2, MESSAGES * 3 // 4, MESSAGES, 64 * MIB)
    assert kept == entries(MESSAGES * 3 // 4 + 1, MESSAGES // 4)
    assert pragma(storage, "integrity_check") == "ok"


def test_steps_are_bounded(storage: SqliteStorage) -> None:
    compact_all(storage, 1, MESSAGES)
    before = pragma(storage, "page_count")
    pages = release(storage)
    assert len(pages) > 3
    for earlier, later in pairwise([before, *pages]):
        assert 0 <= earlier - later <= MIB // 4096 + 2  # The map of pages is a page itself.


def test_a_tenth_of_the_file_stays_free_for_appends(storage: SqliteStorage) -> None:
    compact_all(storage, 1, MESSAGES // 10)
    before = pragma(storage, "page_count")
    assert release(storage) == [before]
    storage.write([append(*entries(MESSAGES + 1, 20))])
    assert pragma(storage, "page_count") == before


def test_appends_and_reads_go_on_between_the_steps(storage: SqliteStorage) -> None:
    compact_all(storage, 1, MESSAGES)
    index, left = MESSAGES, True
    while left:
        index += 1
        storage.write([ReleaseSpace(), append(*entries(index, 1), group_id=2)])
        left = storage.release_left()
        assert storage.read_rows(2, index - 2, index, MIB) == entries(index - 1, 2)
    assert storage.scrub(2, ScrubMark(), 64 * MIB).rows == index


def test_rows_of_a_dropped_replica_go_in_steps(storage: SqliteStorage) -> None:
    storage.write([DeleteGroup(1)])

    def rows() -> int:
        with storage._database.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM raft_app_raftentry WHERE group_id = 1")
            return cursor.fetchone()[0]

    found = [rows()]
    while found[-1]:
        storage.write([ReleaseSpace()])
        assert storage.release_left()
        found.append(rows())
    per_step = [earlier - later for earlier, later in pairwise(found)]
    assert max(per_step) <= MIB // MESSAGE_BYTES
    assert found[0] >= MESSAGES - MIB // MESSAGE_BYTES
    storage.close()
    storage.open()
    release(storage)
    assert file_bytes(storage) < 1.2 * MESSAGES * MESSAGE_BYTES


def test_dropped_replica_is_found_after_a_restart(storage: SqliteStorage) -> None:
    storage.write([DeleteGroup(1)])
    storage.close()
    storage.open()
    storage.write([ReleaseSpace()])
    assert storage.release_left()


def test_rows_of_a_replica_that_was_lost_are_not_deleted(storage: SqliteStorage) -> None:
    SqliteDisk(storage.directory).execute("DELETE FROM raft_app_raftgroup WHERE group_id = 1")
    with pytest.raises(StorageError, match="has lost the replica of 1"):
        storage.write([ReleaseSpace()])
    with storage._database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM raft_app_raftentry WHERE group_id = 1")
        assert cursor.fetchone()[0] == MESSAGES
