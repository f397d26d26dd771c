"""Which errors of a write cast doubt on what was stored, told and tried on real processes."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError

from raft_app.storage.protocol import StorageError
from raft_app.storage.sqlite.storage import SqliteStorage
from raft_app.storage.wal import disk_errors
from raft_app.storage.wal.disk_errors import PROBE_BYTES, casts_doubt, has_room
from raft_app.storage.wal.fault_marker import FaultMarker
from tests.raft_app.storage.storage_harness import append, create, data_entry, only_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MIB = 1 << 20
ROOT = Path(__file__).parents[4]
WAIT_SECONDS = 120
FULL_DISK = """
mount -t tmpfs -o size=1536k tmpfs "$1" || exit 77
"$0" -m tests.raft_app.storage.storage_child "$1"
"$0" -m tests.raft_app.storage.storage_child "$1" >/dev/null
cp -a "$1/." "$2"
"""
"""Writes until the disk is full, starts once more on the full disk, keeps what is there."""


def failure(name: str, kind: type[DatabaseError] = OperationalError) -> DatabaseError:
    """An error as Django raises it for one of SQLite."""
    cause = sqlite3.Error(name)
    cause.sqlite_errorcode = getattr(sqlite3, name)
    error = kind(name)
    error.__cause__ = cause
    return error


@pytest.fixture
def _without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_errors, "has_room", lambda _directory: False)


# --- telling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "SQLITE_IOERR",
        "SQLITE_IOERR_FSYNC",
        "SQLITE_IOERR_DIR_FSYNC",
        "SQLITE_IOERR_READ",
        "SQLITE_IOERR_TRUNCATE",
        "SQLITE_CORRUPT",
        "SQLITE_NOTADB",
    ],
)
@pytest.mark.usefixtures("_without_room")
def test_doubt_does_not_depend_on_the_room(tmp_path: Path, name: str) -> None:
    assert casts_doubt(failure(name), tmp_path)


@pytest.mark.parametrize(
    "name", ["SQLITE_FULL", "SQLITE_BUSY", "SQLITE_NOMEM", "SQLITE_IOERR_NOMEM", "SQLITE_CANTOPEN"]
)
def test_transaction_that_was_rolled_back_casts_no_doubt(tmp_path: Path, name: str) -> None:
    assert not casts_doubt(failure(name), tmp_path)


@pytest.mark.parametrize("name", ["SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"])
def test_failed_write_casts_doubt_unless_there_was_no_room(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert casts_doubt(failure(name), tmp_path)
    monkeypatch.setattr(disk_errors, "has_room", lambda _directory: False)
    assert not casts_doubt(failure(name), tmp_path)


def test_errors_of_django_and_of_the_data_cast_no_doubt(tmp_path: Path) -> None:
    assert not casts_doubt(DatabaseError("of Django"), tmp_path)
    assert not casts_doubt(failure("SQLITE_CONSTRAINT_UNIQUE", IntegrityError), tmp_path)


def test_errors_of_the_operating_system_are_told_apart(tmp_path: Path) -> None:
    assert casts_doubt(OSError(errno.EIO, "Input/output error"), tmp_path)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.EACCES):
        assert not casts_doubt(OSError(number, os.strerror(number)), tmp_path)


def test_room_is_tried_behind_the_larger_file(tmp_path: Path) -> None:
    (tmp_path / "broker.sqlite3-wal").write_bytes(bytes(MIB))
    assert has_room(tmp_path)
    limits = {MIB - 1: False, MIB + PROBE_BYTES - 1: False, MIB + PROBE_BYTES: True}
    for limit, expected in limits.items():
        child = os.fork()
        if child == 0:
            status = 2
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                status = int(has_room(tmp_path))
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["broker.sqlite3-wal"]


@pytest.mark.parametrize(("number", "expected"), [(errno.EDQUOT, False), (errno.EIO, True)])
def test_only_the_lack_of_room_is_told_for_certain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: bool
) -> None:
    def failing(*_args: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.pwrite", failing)
    assert has_room(tmp_path) is expected


# --- in storage ---------------------------------------------------------------------------------


@pytest.fixture
def storage(tmp_path: Path, django_db_blocker) -> Iterator[SqliteStorage]:
    with django_db_blocker.unblock():
        storage = SqliteStorage(tmp_path / "broker")
        storage.open()
        storage.write([create(), append(data_entry(1))])
        yield storage
        storage.close()


def failing_with(error: Exception) -> Callable[..., None]:
    def fail(*_args: object) -> None:
        raise error

    return fail


def marked(directory: Path) -> str:
    marker = FaultMarker(directory)
    reason = marker.open()
    marker.close()
    return reason


def fail_to_write(storage: SqliteStorage, error: Exception, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_commit", failing_with(error))
        with pytest.raises(type(error)):
            storage.write([append(data_entry(2))])
    with pytest.raises(StorageError, match="earlier write"):
        storage.write([append(data_entry(2))])
    storage.close()


def test_failed_sync_makes_all_replicas_faulty_at_the_next_start(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_write(storage, failure("SQLITE_IOERR_FSYNC"), monkeypatch)
    assert "SQLITE_IOERR_FSYNC" in marked(storage.directory)
    storage.open()
    assert "SQLITE_IOERR_FSYNC" in only_group(storage).faulty
    assert marked(storage.directory) == ""
    storage.close()
    storage.open()
    assert only_group(storage).faulty
    assert (storage.directory / "damaged-1" / "broker.sqlite3").exists()


@pytest.mark.parametrize("error", [failure("SQLITE_FULL"), OSError(errno.ENOSPC, "No space")])
def test_lack_of_room_makes_no_replica_faulty(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_to_write(storage, error, monkeypatch)
    assert marked(storage.directory) == ""
    storage.open()
    assert only_group(storage).faulty == ""
    storage.write([append(data_entry(2))])


def test_refused_operation_leaves_no_marker(storage: SqliteStorage) -> None:
    with pytest.raises(StorageError, match="gap"):
        storage.write([append(data_entry(9))])
    storage.write([append(data_entry(2))])
    assert marked(storage.directory) == ""


def test_marker_that_fails_too_hides_no_error(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(FaultMarker, "mark", failing_with(OSError(errno.EIO, "Input/output error")))
    fail_to_write(storage, failure("SQLITE_IOERR_FSYNC"), monkeypatch)
    assert "no marker could be left" in caplog.text


# --- on real processes --------------------------------------------------------------------------


def run_until_failure(command: Sequence[str], **options: object) -> int:
    """Return the last index that the process acknowledged before it failed."""
    done = subprocess.run(
        command,
        capture_output=True,
        timeout=WAIT_SECONDS,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        **options,
    )
    if done.returncode == 77:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode()}")
    acknowledged = done.stdout.splitlines()
    assert acknowledged, done.stderr.decode()
    return int(acknowledged[-1].split()[0])


def child_of(directory: Path) -> list[str]:
    return [sys.executable, "-m", "tests.raft_app.storage.storage_child", str(directory)]


def assert_everything_acknowledged(directory: Path, last_index: int) -> None:
    storage = SqliteStorage(directory)
    storage.open()
    for group in storage.load_groups():
        assert group.faulty == ""
        assert group.initial.last_index >= last_index
    storage.write([append(data_entry(last_index + 1, term=99))])
    storage.close()
    assert not any(directory.glob("damaged-*"))


@pytest.mark.parametrize("limit_kib", [300, 450, 700])
def test_limit_on_the_size_of_a_file_makes_no_replica_faulty(
    tmp_path: Path, django_db_blocker, limit_kib: int
) -> None:
    limit = limit_kib << 10
    last_index = run_until_failure(
        child_of(tmp_path),
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert last_index > 10
    with django_db_blocker.unblock():
        assert_everything_acknowledged(tmp_path, last_index)


def test_full_disk_makes_no_replica_faulty(tmp_path: Path, django_db_blocker) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    (tmp_path / "small").mkdir()
    (tmp_path / "kept").mkdir()
    script = ["unshare", "-rm", "sh", "-c", FULL_DISK, sys.executable]
    last_index = run_until_failure([*script, str(tmp_path / "small"), str(tmp_path / "kept")])
    assert last_index > 100
    with django_db_blocker.unblock():
        assert_everything_acknowledged(tmp_path / "kept", last_index)


@pytest.mark.parametrize("when", ["90", "100+"])
def test_sync_that_fails_makes_all_replicas_faulty(
    tmp_path: Path, django_db_blocker, when: str
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"]
    inject = ["-e", f"inject=fsync,fdatasync:error=EIO:when={when}"]
    assert run_until_failure([*strace, *inject, *child_of(tmp_path)]) > 10
    with django_db_blocker.unblock():
        storage = SqliteStorage(tmp_path)
        storage.open()
        groups = storage.load_groups()
        assert [group.spec.group_id for group in groups] == [1, 2]
        assert all("disk I/O error" in group.faulty for group in groups)
        storage.close()
