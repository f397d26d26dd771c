"""Backups: whole or refused, and no restored replica is trusted."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from queuesite import backups
from queuesite.backups import BackupRefused, back_up, folders_in, restore, verify
from raft_app.storage.sqlite.database import FILE_NAME, WAL_NAME
from raft_app.storage.sqlite.storage import SqliteStorage
from tests.raft_app.storage.storage_harness import create, data_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPEED = 1 << 40


@pytest.fixture(autouse=True)
def _with_databases(django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A broker's folder, stopped in order."""
    storage = SqliteStorage(tmp_path / "broker")
    storage.open()
    for group_id in (1, 2):
        storage.write([create(group_id, entries=tuple(map(data_entry, range(1, 9))))])
    storage.close()
    return tmp_path / "broker"


@pytest.fixture
def backup(folder: Path, tmp_path: Path) -> Path:
    target = tmp_path / "backup"
    back_up(folder, target, bytes_per_second=SPEED)
    return target


def test_every_replica_of_a_restored_broker_is_faulty(backup: Path, tmp_path: Path) -> None:
    assert restore(backup, tmp_path / "new").replicas == 2
    storage = SqliteStorage(tmp_path / "new")
    storage.open()
    try:
        faults = [one.faulty for one in storage.load_groups()]
        assert len(faults) == 2
        assert all("restored from a backup of 20" in one for one in faults)
        examined = storage.examine(1)
        assert examined is not None
        assert (examined.end_offset, examined.stored.faulty) == (8, "")
        assert storage.used_replica_ids(1) == {1}
    finally:
        storage.close()


def test_a_folder_is_there_only_once_its_replicas_are_marked(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("cut off")

    with monkeypatch.context() as patched:
        patched.setattr(backups, "_distrust", fails)
        with pytest.raises(OSError, match="cut off"):
            restore(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    restore(backup, tmp_path / "new")
    assert not (tmp_path / "new.unfinished").exists()


def test_nothing_is_overwritten(folder: Path, backup: Path) -> None:
    with pytest.raises(BackupRefused, match="nothing is overwritten"):
        restore(backup, folder)
    with pytest.raises(BackupRefused, match="is there already"):
        back_up(folder, backup, bytes_per_second=SPEED)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda backup: flip(backup / FILE_NAME), "checksum"),
        (lambda backup: cut(backup / FILE_NAME), "bytes"),
        (lambda backup: (backup / FILE_NAME).unlink(), "bytes"),
        (lambda backup: (backup / "backup.json").unlink(), "no backup"),
        (lambda backup: cut(backup / "backup.json"), "damaged"),
        (
            lambda backup: (backup / "backup.json").write_text(
                (backup / "backup.json").read_text().replace('"format": 1', '"format": 7')
            ),
            "format 7",
        ),
        (
            lambda backup: (backup / "backup.json").write_text(
                (backup / "backup.json").read_text().replace('"broker"', '"manager"')
            ),
            "names",
        ),
    ],
)
def test_a_damaged_backup_is_refused(
    backup: Path, tmp_path: Path, damage: Callable[[Path], None], why: str
) -> None:
    verify(backup)
    damage(backup)
    with pytest.raises(BackupRefused, match=why):
        verify(backup)
    with pytest.raises(BackupRefused, match=why):
        restore(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE raft_app_raftentry SET data = x'00' WHERE id & 7 = 3", "checksum"),
        ("UPDATE raft_app_raftgroup SET term = 9 WHERE group_id = 1", "groups 1"),
    ],
)
def test_a_row_that_was_damaged_before_is_found(
    folder: Path, tmp_path: Path, statement: str, why: str
) -> None:
    with closing(sqlite3.connect(folder / FILE_NAME)) as database, database:
        database.execute(statement)
    with pytest.raises(BackupRefused, match=why):
        back_up(folder, tmp_path / "backup", bytes_per_second=SPEED)
    assert not (tmp_path / "backup").exists()


def test_a_broker_that_was_killed_is_to_be_started_first(folder: Path, tmp_path: Path) -> None:
    (folder / WAL_NAME).write_bytes(b"x")
    with pytest.raises(BackupRefused, match="start it"):
        back_up(folder, tmp_path / "backup", bytes_per_second=SPEED)


def test_a_broker_at_work_is_copied(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "broker")
    storage.open()
    try:
        storage.write([create(1, entries=(data_entry(1),))])
        said = back_up(tmp_path / "broker", tmp_path / "backup", bytes_per_second=SPEED)
        assert said.replicas == 1
        storage.write([create(2)])
    finally:
        storage.close()
    assert verify(tmp_path / "backup") == said


def test_a_manager_is_restored_by_its_own_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manager").mkdir()
    with closing(sqlite3.connect(tmp_path / "manager" / "manager.sqlite3")) as database, database:
        database.execute("CREATE TABLE topics (name)")
        database.execute("INSERT INTO topics VALUES ('orders')")
    said = back_up(tmp_path / "manager", tmp_path / "backup", bytes_per_second=SPEED)
    assert said.kind == "manager"
    ran = []
    answer = subprocess.CompletedProcess([], 2, stderr="no")

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        ran.append(command[-1])
        return answer

    monkeypatch.setattr(backups.subprocess, "run", run)
    with pytest.raises(BackupRefused, match="restored failed: no"):
        restore(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    answer.returncode = 0
    restore(tmp_path / "backup", tmp_path / "new")
    assert ran == ["restored", "restored"]
    with closing(sqlite3.connect(tmp_path / "new" / "manager.sqlite3")) as database:
        assert database.execute("SELECT name FROM topics").fetchall() == [("orders",)]


def test_the_folders_of_a_cluster_are_found(folder: Path, tmp_path: Path) -> None:
    assert folders_in(folder) == [folder]
    assert folders_in(tmp_path) == [folder]
    with pytest.raises(BackupRefused, match="neither"):
        folders_in(tmp_path / "broker" / "none")
