"""What only the SQLite storage must do: durability, threads, the WAL, a full disk, being killed."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.db import DatabaseError, connections

from raft_app.core.types import HardState
from raft_app.storage.protocol import (
    CorruptEntry,
    SaveCheckpoint,
    StorageError,
    StorageRefusal,
)
from raft_app.storage.sqlite import database
from raft_app.storage.sqlite.storage import (
    WAL_STEP_BYTES,
    WAL_STEPS_BEGIN_BYTES,
    SqliteStorage,
)
from tests.raft_app.storage.storage_harness import (
    SqliteDisk,
    append,
    checkpoint_at,
    create,
    data_entry,
    only_group,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
WAIT_SECONDS = 60


@pytest.fixture(autouse=True)
def _with_databases(django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SqliteStorage]:
    storage = SqliteStorage(tmp_path / "broker")
    storage.open()
    yield storage
    storage.close()


def pragma(storage: SqliteStorage, name: str) -> int | str:
    with storage._database.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")
        return cursor.fetchone()[0]


# --- durability ---------------------------------------------------------------------------------


def test_every_thread_writes_and_reads_with_full_durability(storage: SqliteStorage) -> None:
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "auto_vacuum": 2,
        "secure_delete": 0,
        "wal_autocheckpoint": 0,
    }

    def pragmas() -> dict[str, int | str]:
        found = {name: pragma(storage, name) for name in expected}
        storage.close_thread_connection()
        return found

    assert pragmas() == expected
    with ThreadPoolExecutor(1) as other:
        assert other.submit(pragmas).result(WAIT_SECONDS) == expected


def test_weaker_durability_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weaker = database.INIT_COMMAND.replace("synchronous=FULL", "synchronous=NORMAL")
    monkeypatch.setattr(database, "INIT_COMMAND", weaker)
    with pytest.raises(StorageRefusal, match="synchronous=1 where 2 is needed"):
        SqliteStorage(tmp_path).open()


def test_transactions_take_the_write_lock_at_once(storage: SqliteStorage) -> None:
    with storage._database.connection() as connection:
        assert connection.settings_dict["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_acknowledged_entries_survive_sigkill(tmp_path: Path) -> None:
    root = Path(__file__).parents[4]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.raft_app.storage.storage_child", str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    watchdog = threading.Timer(WAIT_SECONDS, child.kill)
    watchdog.start()
    try:
        acknowledged = [child.stdout.readline() for _ in range(300)]
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.readlines()
        assert child.wait(WAIT_SECONDS) == -signal.SIGKILL
    finally:
        watchdog.cancel()
        child.kill()
        child.stdout.close()
    last_index, term = (int(number) for number in acknowledged[-1].split())
    assert last_index >= 300
    storage = SqliteStorage(tmp_path)
    storage.open()
    first, second = storage.load_groups()
    for group in (first, second):
        assert group.faulty == ""
        assert group.initial.last_index >= last_index
        assert group.initial.hard_state.term >= term
        assert [entry.index for entry in group.initial.entries[:last_index]] == list(
            range(1, last_index + 1)
        )
    for entry in first.initial.entries[:last_index]:
        assert entry == data_entry(
            entry.index, term=(entry.index - 1) // 10 + 1, data=b"%d" % entry.index * 200
        )
    replaced = [entry for entry in second.initial.entries[:last_index] if entry.index % 10 == 0]
    assert all(entry.term == entry.index // 10 + 1 for entry in replaced)
    storage.close()


def test_uncommitted_transaction_of_another_connection_is_not_seen(
    storage: SqliteStorage,
) -> None:
    storage.write([create()])
    path = storage.directory / database.FILE_NAME
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE raft_app_raftgroup SET term = 99")
        assert only_group(storage).initial.hard_state.term == 1
        other.execute("ROLLBACK")


# --- the directory ------------------------------------------------------------------------------


def test_each_directory_has_a_file_and_an_incarnation_of_its_own(tmp_path: Path) -> None:
    storages = [SqliteStorage(tmp_path / name) for name in "ab"]
    incarnations = {storage.open().incarnation for storage in storages}
    assert len(incarnations) == 2
    for replica_id, storage in enumerate(storages, start=1):
        storage.write([create(replica_id=replica_id)])
    assert [only_group(storage).spec.replica_id for storage in storages] == [1, 2]
    for storage in storages:
        storage.close()


def test_usual_connection_of_the_alias_is_left_alone(storage: SqliteStorage) -> None:
    usual = connections["broker"]
    storage.write([create()])
    storage.load_groups()
    assert connections["broker"] is usual
    assert usual.settings_dict["NAME"] != str(storage.directory / database.FILE_NAME)


def test_start_without_news_runs_no_migration(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.close()
    monkeypatch.delattr("raft_app.storage.sqlite.inventory.call_command")
    storage.open()


def test_first_start_that_was_cut_off_is_taken_up(storage: SqliteStorage) -> None:
    storage.close()
    disk = SqliteDisk(storage.directory)
    disk.execute("DELETE FROM raft_app_brokeridentity")
    assert len(storage.open().incarnation) == 32
    storage.write([create()])


def test_replicas_without_an_identity_are_refused(storage: SqliteStorage) -> None:
    storage.write([create()])
    storage.close()
    SqliteDisk(storage.directory).execute("DELETE FROM raft_app_brokeridentity")
    with pytest.raises(StorageRefusal, match="no identity"):
        storage.open()


def test_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / database.FILE_NAME
    path.write_bytes(b"not a database, not at all " * 100)
    with pytest.raises(StorageRefusal, match="cannot be used"):
        SqliteStorage(tmp_path).open()
    assert path.read_bytes().startswith(b"not a database")


def test_nothing_is_touched_before_opening(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "broker")
    with pytest.raises(StorageError, match="closed"):
        storage.load_groups()
    assert not (tmp_path / "broker").exists()


# --- failures -----------------------------------------------------------------------------------


def test_failed_write_ends_all_writing_and_loses_nothing_acknowledged(
    storage: SqliteStorage,
) -> None:
    storage.write([create(), append(data_entry(1))])
    pages = pragma(storage, "page_count")
    pragma(storage, f"max_page_count={pages}")
    with pytest.raises(DatabaseError, match="full"):
        storage.write([append(data_entry(2, data=b"x" * MIB))])
    pragma(storage, "max_page_count=1000000")
    with pytest.raises(StorageError, match="earlier write"):
        storage.write([append(data_entry(2))])
    assert storage.read_entries(1, 1, 9, MIB) == [data_entry(1)]
    storage.close()
    storage.open()
    storage.write([append(data_entry(2))])
    assert only_group(storage).initial.last_index == 2


def test_offset_that_two_entries_claim_is_an_error_of_the_database(
    storage: SqliteStorage,
) -> None:
    storage.write([create(), append(data_entry(1, offset=0))])
    with pytest.raises(DatabaseError, match="UNIQUE"):
        storage.write([append(data_entry(2, offset=0))])


def test_damaged_pages_make_the_replica_faulty(storage: SqliteStorage) -> None:
    entries = [data_entry(index, data=b"%04d" % index * 2_000) for index in range(1, 60)]
    storage.write([create(), append(*entries)])
    storage.close()
    path = storage.directory / database.FILE_NAME
    content = bytearray(path.read_bytes())
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        [root] = reader.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'raft_app_raftentry'"
        ).fetchone()
    content[(root - 1) * 4096 + 8 : root * 4096] = b"\xff" * 4088
    path.write_bytes(content)
    storage.open()
    assert "damaged" in only_group(storage).faulty
    with pytest.raises(CorruptEntry, match="damaged"):
        storage.read_entries(1, 1, 5, MIB)


def test_damaged_pages_of_a_checkpoint_make_its_replica_alone_faulty(
    storage: SqliteStorage,
) -> None:
    storage.write([create(1), create(2)])
    for group_id in (1, 2):
        state = checkpoint_at(0, term=0, state=b"%d" % group_id * 20_000)
        storage.write([SaveCheckpoint(group_id, state)])
    storage.close()
    path = storage.directory / database.FILE_NAME
    content = bytearray(path.read_bytes())
    # The pages of a long value form a list: its second page now names one beyond the file.
    second_page = content.index(b"2" * 4000) // 4096 * 4096
    content[second_page : second_page + 4] = b"\xff\xff\xff\x00"
    path.write_bytes(content)
    storage.open()
    assert ["checkpoint" in group.faulty for group in storage.load_groups()] == [False, True]


# --- threads ------------------------------------------------------------------------------------


def test_readers_see_whole_transactions_while_another_thread_writes(
    storage: SqliteStorage,
) -> None:
    storage.write([create()])
    writes = 200
    done = threading.Event()

    def write() -> None:
        try:
            for index in range(1, 2 * writes, 2):
                storage.write([append(data_entry(index), data_entry(index + 1))])
        finally:
            storage.close_thread_connection()
            done.set()

    def read() -> int:
        reads = 0
        while not done.is_set():
            entries = storage.read_entries(1, 1, 2 * writes, 64 * MIB)
            assert len(entries) % 2 == 0
            assert [entry.index for entry in entries] == list(range(1, len(entries) + 1))
            reads += 1
        storage.close_thread_connection()
        return reads

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        threads.submit(write).result(WAIT_SECONDS)
        assert all(reader.result(WAIT_SECONDS) >= 0 for reader in readers)
    assert only_group(storage).initial.last_index == 2 * writes


def test_connections_of_all_threads_end_with_the_storage(storage: SqliteStorage) -> None:
    with ThreadPoolExecutor(2) as threads:
        for group_id in (1, 2):
            threads.submit(storage.used_replica_ids, group_id).result(WAIT_SECONDS)
        storage.close()
        with pytest.raises(StorageError, match="closed"):
            threads.submit(storage.load_peers).result(WAIT_SECONDS)
    assert not (storage.directory / "broker.sqlite3-wal").exists()


# --- the WAL ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, 64 << 10])
def test_wal_stays_near_its_limit(tmp_path: Path, size: int) -> None:
    storage = SqliteStorage(tmp_path, wal_limit_bytes=MIB)
    storage.open()
    storage.write([create()])
    wal = tmp_path / "broker.sqlite3-wal"
    for index in range(1, 200):
        state = HardState(1, 0, index - 1)
        storage.write([append(data_entry(index, data=b"x" * size), hard_state=state)])
        assert wal.stat().st_size < 2 * MIB
    assert storage.wal_checkpoints >= 2
    assert storage.transactions == 200
    assert only_group(storage).initial.last_index == 199
    storage.close()


def test_wal_is_made_longer_in_steps_until_it_is_as_long_as_it_gets(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path, wal_limit_bytes=3 * MIB)
    storage.open()
    storage.write([create()])
    wal = tmp_path / "broker.sqlite3-wal"
    before = wal.stat().st_size
    assert before < WAL_STEPS_BEGIN_BYTES
    lengths: list[int] = []
    index = 0
    while storage.wal_checkpoints < 2:
        index += 1
        storage.write([append(data_entry(index, data=b"x" * 100))])
        if wal.stat().st_size != before:
            before = wal.stat().st_size
            lengths.append(before)
    assert sum(length > WAL_STEP_BYTES for length in lengths) == 2, lengths
    assert lengths[-1] == 3 * MIB
    storage.close()


def test_process_without_a_descriptor_to_spare_writes_on(tmp_path: Path) -> None:
    """Connections of clients may take them all; no message, step or checkpoint needs one more."""
    storage = SqliteStorage(tmp_path, wal_limit_bytes=3 * MIB)
    storage.open()
    storage.write([create()])
    index, before = 0, storage.wal_checkpoints
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, allowed[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            (tmp_path / "one-more").touch()
        while storage.wal_checkpoints == before:
            index += 1
            storage.write([append(data_entry(index, data=b"x" * 100))])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
    assert only_group(storage).initial.last_index == index
    storage.close()


def test_killed_process_leaves_its_messages_before_the_zeros(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path)
    storage.open()
    storage.write([create()])
    for index in range(1, 31):
        storage.write([append(data_entry(index, data=b"x" * 100))])
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("broker.sqlite3*"):
        (copy / path.name).write_bytes(path.read_bytes())
    storage.close()
    assert (copy / "broker.sqlite3-wal").read_bytes().endswith(bytes(MIB))
    restarted = SqliteStorage(copy)
    restarted.open()
    assert only_group(restarted).initial.last_index == 30
    assert not only_group(restarted).faulty
    restarted.close()


def test_reader_in_the_way_delays_the_wal_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_BUSY_TIMEOUT_MS", 1)
    storage = SqliteStorage(tmp_path, wal_limit_bytes=64 << 10)
    storage.open()
    storage.write([create()])
    before = storage.wal_checkpoints
    with closing(sqlite3.connect(tmp_path / database.FILE_NAME, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM raft_app_raftgroup").fetchone()
        for index in range(1, 10):
            storage.write([append(data_entry(index, data=b"x" * 50_000))])
        assert storage.wal_checkpoints == before
        reader.execute("COMMIT")
    storage.write([append(data_entry(10, data=b"x" * 100_000))])
    assert storage.wal_checkpoints == before + 1
    assert only_group(storage).initial.last_index == 10
    storage.close()


def test_large_wal_of_a_killed_process_is_written_back_at_the_start(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path)
    storage.open()
    storage.write([create(), append(data_entry(1, data=b"x" * MIB))])
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("broker.sqlite3*"):
        (copy / path.name).write_bytes(path.read_bytes())
    storage.close()
    restarted = SqliteStorage(copy, wal_limit_bytes=MIB)
    restarted.open()
    assert restarted.wal_checkpoints == 1
    assert only_group(restarted).initial.last_index == 1
    restarted.close()
