"""The database and the manifest beside it agree, or the start says which of them lost what."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from raft_app import models
from raft_app.storage.protocol import (
    BrokerIdentity,
    DeleteGroup,
    GroupSpec,
    SaveIdentity,
    StorageRefusal,
)
from raft_app.storage.sqlite.database import BrokerDatabase
from raft_app.storage.sqlite.inventory import Inventory
from raft_app.storage.sqlite.manifest import MANIFEST_NAME, ManifestFile
from raft_app.storage.sqlite.storage import SqliteStorage
from tests.raft_app.storage.storage_harness import (
    SqliteDisk,
    append,
    create,
    data_entry,
    only_group,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def storage(tmp_path: Path, django_db_blocker) -> Iterator[SqliteStorage]:
    with django_db_blocker.unblock():
        storage = SqliteStorage(tmp_path / "broker")
        storage.open()
        yield storage
        storage.close()


def written(storage: SqliteStorage) -> dict[int, int]:
    manifest = ManifestFile(storage.directory).read()
    assert manifest is not None
    return {group_id: spec.replica_id for group_id, spec in manifest.replicas.items()}


def damage(storage: SqliteStorage, statement: str) -> None:
    with closing(
        sqlite3.connect(storage.directory / "broker.sqlite3", isolation_level=None)
    ) as connection:
        connection.execute(statement)


def test_manifest_follows_the_replicas(storage: SqliteStorage) -> None:
    assert written(storage) == {}
    storage.write([create(1), create(2, replica_id=5)])
    assert written(storage) == {1: 1, 2: 5}
    storage.write([DeleteGroup(2), create(2, replica_id=6), DeleteGroup(1)])
    assert written(storage) == {2: 6}
    assert storage.used_replica_ids(1) == {1}
    assert storage.used_replica_ids(2) == {5, 6}
    identity = BrokerIdentity(storage._inventory.identity.incarnation, 4, "c1")
    storage.write([SaveIdentity(identity)])
    storage.close()
    manifest = ManifestFile(storage.directory).read()
    assert manifest is not None
    assert manifest.identity == identity
    assert storage.open() == identity


def test_appends_do_not_touch_the_manifest(storage: SqliteStorage) -> None:
    storage.write([create()])
    before = (storage.directory / MANIFEST_NAME).stat()
    storage.write([append(data_entry(1))])
    after = (storage.directory / MANIFEST_NAME).stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)


def test_replica_adds_to_the_manifest_as_much_however_many_there_are(
    storage: SqliteStorage,
) -> None:
    path = storage.directory / MANIFEST_NAME
    sizes = []
    for group_id in range(1_001, 1_101):
        before = path.stat()
        storage.write([create(group_id)])
        assert path.stat().st_ino == before.st_ino
        sizes.append(path.stat().st_size - before.st_size)
    assert max(sizes) == min(sizes)


def test_manifest_is_whole_again_when_the_storage_was_closed(storage: SqliteStorage) -> None:
    storage.write([create(1), create(2)])
    storage.write([DeleteGroup(1)])
    storage.close()
    crc, text, end = (storage.directory / MANIFEST_NAME).read_bytes().split(b"\n")
    assert int(crc, 16) == zlib.crc32(text + b"\n")
    assert end == b""
    assert written(storage) == {2: 1}
    storage.open()


def test_change_that_was_cut_off_is_not_added_to(storage: SqliteStorage) -> None:
    storage.write([create(1)])
    storage.write([create(2)])
    path = storage.directory / MANIFEST_NAME
    content = path.read_bytes()
    storage.close()
    path.write_bytes(content[:-9])
    storage.open()
    assert written(storage) == {1: 1, 2: 1}
    storage.write([create(3)])
    assert written(storage) == {1: 1, 2: 1, 3: 1}


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_manifest_that_is_gone_or_damaged_is_made_again(
    storage: SqliteStorage, content: bytes | None
) -> None:
    storage.write([create(1), create(2), DeleteGroup(1)])
    storage.close()
    path = storage.directory / MANIFEST_NAME
    before = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    storage.open()
    assert path.read_bytes() == before


def test_replica_that_was_never_acknowledged_may_be_missing_in_the_manifest(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    for operations in ([create(1)], [DeleteGroup(1)]):
        with monkeypatch.context() as patch:
            patch.setattr(Inventory, "after", killed)
            with pytest.raises(KeyboardInterrupt):
                storage.write(operations)
        storage.close()
        storage.open()
        assert written(storage) == {found.spec.group_id: 1 for found in storage.load_groups()}
    assert written(storage) == {}


def test_replica_whose_deletion_was_cut_off_is_still_there(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    storage.write([create()])
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_commit_steps", killed)
        with pytest.raises(KeyboardInterrupt):
            storage.write([DeleteGroup(1)])
    assert written(storage) == {}
    storage.close()
    storage.open()
    assert only_group(storage).faulty == ""
    assert written(storage) == {1: 1}


def test_database_that_lost_a_replica_is_in_doubt(storage: SqliteStorage) -> None:
    storage.write([create(1), create(2)])
    storage.close()
    damage(storage, "DELETE FROM raft_app_raftgroup WHERE group_id = 2")
    storage.open()
    first, second = storage.load_groups()
    assert "has lost the replica of group 2" in first.faulty
    assert second.faulty == first.faulty
    assert second.spec == GroupSpec(2, 1, "orders", 1)


def test_group_id_that_changed_is_a_lost_replica(storage: SqliteStorage) -> None:
    storage.write([create(1), create(2)])
    storage.close()
    damage(storage, "UPDATE raft_app_raftgroup SET group_id = 3 WHERE group_id = 2")
    storage.open()
    assert [group.spec.group_id for group in storage.load_groups()] == [1, 2]
    assert all("unknown group" in group.faulty for group in storage.load_groups())


def test_used_id_that_the_database_lost_stays_used(storage: SqliteStorage) -> None:
    storage.write([create(1, replica_id=3), DeleteGroup(1)])
    storage.close()
    damage(storage, "DELETE FROM raft_app_usedreplicaid")
    storage.open()
    assert storage.used_replica_ids(1) == {3}


@pytest.mark.parametrize(
    ("column", "value"), [("incarnation", "ff"), ("broker_id", 9), ("cluster_id", "other")]
)
def test_database_of_another_owner_is_refused(
    storage: SqliteStorage, column: str, value: object
) -> None:
    incarnation = storage._inventory.identity.incarnation
    storage.write([SaveIdentity(BrokerIdentity(incarnation, 4, "c1"))])
    storage.close()
    database = BrokerDatabase(storage.directory, "broker")
    with database.connection():
        models.BrokerIdentity.objects.using("broker").update(**{column: value})
    database.close()
    with pytest.raises(StorageRefusal, match=column):
        storage.open()


def test_manifest_of_a_newer_program_is_refused(storage: SqliteStorage) -> None:
    storage.close()
    file = ManifestFile(storage.directory)
    manifest = file.read()
    assert manifest is not None
    newer = BrokerIdentity(manifest.identity.incarnation, format_version=3)
    file.write(type(manifest)(newer))
    with pytest.raises(StorageRefusal, match="format version 3"):
        storage.open()


def test_directory_of_an_older_program_is_brought_up_to_date(storage: SqliteStorage) -> None:
    storage.write([create(), append(data_entry(1))])
    before = storage.load_groups()
    storage.close()
    for statement in (
        "ALTER TABLE raft_app_raftgroup DROP COLUMN acknowledged_index",
        "ALTER TABLE raft_app_raftgroup DROP COLUMN acknowledged_term",
        "DELETE FROM django_migrations WHERE name = '0002_acknowledged_end'",
        "UPDATE raft_app_brokeridentity SET format_version = 1",
    ):
        damage(storage, statement)
    file = ManifestFile(storage.directory)
    manifest = file.read()
    assert manifest is not None
    file.write(replace(manifest, identity=replace(manifest.identity, format_version=1)))
    assert storage.open().format_version == 2
    assert storage.load_groups() == before
    assert file.read() == manifest
    storage.write([append(data_entry(2))])
    storage.close()
    storage.open()
    assert only_group(storage).initial.last_index == 2


def test_database_in_doubt_of_an_older_program_is_replaced_by_a_present_one(
    storage: SqliteStorage,
) -> None:
    storage.write([create()])
    storage.close()
    (storage.directory / "broker.sqlite3").unlink()
    file = ManifestFile(storage.directory)
    manifest = file.read()
    assert manifest is not None
    file.write(replace(manifest, identity=replace(manifest.identity, format_version=1)))
    assert storage.open().format_version == 2
    assert "missing" in only_group(storage).faulty


def test_database_without_an_identity_is_in_doubt_when_one_was_written(
    storage: SqliteStorage,
) -> None:
    identity = storage._inventory.identity
    storage.write([create()])
    storage.close()
    (storage.directory / "broker.sqlite3").unlink()
    SqliteDisk(storage.directory).execute("CREATE TABLE something (else_ INTEGER)")
    assert storage.open() == identity
    assert "no longer says whose it is" in only_group(storage).faulty
