"""Connections of one thread and of several to the file of a directory."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from django.db import DatabaseError, connections

from raft_app.storage.protocol import StorageError, StorageRefusal
from raft_app.storage.sqlite import database as database_module
from raft_app.storage.sqlite.database import (
    FILE_NAME,
    WAL_NAME,
    BrokerDatabase,
    error_code,
    is_corruption,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_SECONDS = 60


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: pytest.FixtureRequest) -> Iterator[BrokerDatabase]:
    with django_db_blocker.unblock():
        database = BrokerDatabase(tmp_path, "broker")
        yield database
        database.close()


def test_connection_takes_the_place_of_the_alias_for_the_time_of_a_call(
    database: BrokerDatabase,
) -> None:
    usual = connections["broker"]
    with database.connection() as outer:
        assert connections["broker"] is outer is not usual
        with database.connection() as inner:
            assert inner is outer
        assert connections["broker"] is outer
    assert connections["broker"] is usual


def test_usual_connection_comes_back_after_an_error(database: BrokerDatabase) -> None:
    usual = connections["broker"]
    with pytest.raises(DatabaseError), database.cursor() as cursor:
        cursor.execute("SELECT * FROM nothing")
    assert connections["broker"] is usual


def test_each_thread_has_one_connection(database: BrokerDatabase) -> None:
    def connection() -> int:
        with database.connection() as own:
            return id(own)

    mine = connection()
    assert connection() == mine
    with ThreadPoolExecutor(1) as other:
        theirs = other.submit(connection).result(WAIT_SECONDS)
        assert theirs != mine
        assert other.submit(connection).result(WAIT_SECONDS) == theirs
        other.submit(database.close_thread_connection).result(WAIT_SECONDS)
    database.close_thread_connection()
    database.close_thread_connection()
    assert connection() > 0


def test_closed_database_gives_no_connection(database: BrokerDatabase) -> None:
    database.close()
    with pytest.raises(StorageError, match="closed"), database.connection():
        pass


def test_hot_statements_are_never_kept_for_debugging(database: BrokerDatabase) -> None:
    with database.connection() as connection:
        connection.force_debug_cursor = True
        before = len(connection.queries)
        with database.cursor() as cursor:
            cursor.execute("SELECT %s", ["x" * 1_000])
        assert len(connection.queries) == before


def test_size_of_the_wal_is_that_of_its_file(database: BrokerDatabase, tmp_path: Path) -> None:
    assert database.wal_size_bytes() == 0
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE t (x)")
    size = (tmp_path / f"{FILE_NAME}-wal").stat().st_size
    assert database.wal_size_bytes() == size > 0
    assert database.checkpoint_wal()
    assert database.wal_size_bytes() == size


def test_emptied_wal_has_no_bytes(database: BrokerDatabase, tmp_path: Path) -> None:
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE t (x)")
    database.empty_wal()
    assert database.wal_size_bytes() == 0
    assert (tmp_path / WAL_NAME).exists()


def test_wal_that_another_program_reads_is_not_emptied(
    database: BrokerDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_SECONDS", 0.01)
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE t (x)")
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t").fetchone()
        with pytest.raises(StorageRefusal, match="another program"):
            database.empty_wal()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SQLITE_IOERR_READ", True),
        ("SQLITE_IOERR_SHORT_READ", True),
        ("SQLITE_IOERR_CORRUPTFS", True),
        ("SQLITE_CORRUPT_INDEX", True),
        ("SQLITE_IOERR_FSYNC", False),
        ("SQLITE_FULL", False),
    ],
)
def test_page_that_cannot_be_read_is_as_bad_as_a_damaged_one(name: str, expected: bool) -> None:
    error = DatabaseError(name)
    error.__cause__ = sqlite3.Error(name)
    error.__cause__.sqlite_errorcode = getattr(sqlite3, name)
    assert is_corruption(error) is expected
    assert error_code(error) == getattr(sqlite3, name)
    assert error_code(DatabaseError("of Django")) == 0


def test_corruption_is_told_from_other_errors(database: BrokerDatabase, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as missing, database.cursor() as cursor:
        cursor.execute("SELECT * FROM nothing")
    assert not is_corruption(missing.value)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / FILE_NAME).write_bytes(b"no database " * 1_000)
    damaged = BrokerDatabase(tmp_path / "other", "broker")
    with pytest.raises(DatabaseError) as caught, damaged.connection():
        pass
    assert is_corruption(caught.value)
    damaged.close()
