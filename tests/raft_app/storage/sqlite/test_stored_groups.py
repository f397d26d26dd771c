"""Replicas in damaged tables: the one that is hit is faulty, or the start is refused in a line."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from raft_app import models
from raft_app.storage.protocol import (
    DeleteGroup,
    GroupSpec,
    PeerAddress,
    SaveCheckpoint,
    SavePeers,
    SetFaulty,
    StorageRefusal,
)
from raft_app.storage.sqlite.storage import SqliteStorage
from tests.raft_app.storage.storage_harness import append, checkpoint_at, create, data_entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.db.models import Model

PAGE_BYTES = 4096


@pytest.fixture
def storage(tmp_path: Path, django_db_blocker) -> Iterator[SqliteStorage]:
    with django_db_blocker.unblock():
        storage = SqliteStorage(tmp_path / "broker")
        storage.open()
        storage.write([create(1), create(2), create(3)])
        storage.write([append(data_entry(1), group_id=group_id) for group_id in (1, 2, 3)])
        storage.write([SavePeers((PeerAddress(5, "http://a:1", "a:2"),))])
        storage.close()
        yield storage
        storage.close()


def damage(storage: SqliteStorage, statement: str) -> None:
    path = storage.directory / "broker.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def damage_table(storage: SqliteStorage, model: type[Model]) -> bytes:
    """Overwrite the first page of a table; return the whole file."""
    path = storage.directory / "broker.sqlite3"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        [root] = reader.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (model._meta.db_table,)
        ).fetchone()
    content = bytearray(path.read_bytes())
    content[(root - 1) * PAGE_BYTES : root * PAGE_BYTES] = b"\xa5" * PAGE_BYTES
    path.write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize(
    "column",
    [
        "term = term + 1",
        "vote = 3",
        '"commit" = 1',
        "replica_id = 9",
        "topic = 'orderz'",
        "topic = CAST(X'FFFE' AS TEXT)",
        "first_index = 2",
        "previous_term = 1",
        "installing = 1",
        "term = 'x'",
    ],
)
def test_damaged_row_makes_its_replica_alone_faulty(storage: SqliteStorage, column: str) -> None:
    damage(storage, " ".join(["UPDATE raft_app_raftgroup SET", column, "WHERE group_id = 2"]))
    storage.open()
    first, damaged, third = storage.load_groups()
    assert first.faulty == third.faulty == ""
    assert "row of group 2" in damaged.faulty
    assert damaged.spec == GroupSpec(2, 1, "orders", 1)


def test_damaged_row_stays_faulty_and_its_replica_can_be_replaced(storage: SqliteStorage) -> None:
    damage(storage, "UPDATE raft_app_raftgroup SET vote = 3 WHERE group_id = 2")
    storage.open()
    reason = storage.load_groups()[1].faulty
    storage.write([SetFaulty(2, reason), append(data_entry(2))])
    storage.close()
    storage.open()
    assert storage.load_groups()[1].faulty == reason
    storage.write([DeleteGroup(2), create(2, replica_id=4)])
    storage.close()
    storage.open()
    assert [group.faulty for group in storage.load_groups()] == ["", "", ""]
    assert storage.load_groups()[1].spec.replica_id == 4


def test_reason_that_was_lost_does_not_heal_a_replica(storage: SqliteStorage) -> None:
    storage.open()
    storage.write([SetFaulty(2, "lost its vote")])
    storage.close()
    damage(storage, "UPDATE raft_app_raftgroup SET faulty = '' WHERE group_id = 2")
    storage.open()
    assert storage.load_groups()[1].faulty != ""


def test_replica_with_a_damaged_checkpoint_is_not_read_at_all(storage: SqliteStorage) -> None:
    storage.open()
    storage.write([SaveCheckpoint(1, checkpoint_at(1))])
    storage.close()
    damage(storage, "UPDATE raft_app_checkpoint SET applied_term = 9 WHERE group_id = 1")
    storage.open()
    damaged = storage.load_groups()[0]
    assert "checkpoint" in damaged.faulty
    assert damaged.initial.entries == ()


@pytest.mark.parametrize(
    "model",
    [models.RaftGroup, models.UsedReplicaId, models.BrokerIdentity, models.PeerAddress],
)
def test_damaged_pages_of_a_small_table_are_refused_in_one_line(
    storage: SqliteStorage, model: type[Model]
) -> None:
    content = damage_table(storage, model)

    def start() -> None:
        storage.open()
        storage.load_groups()
        storage.load_peers()

    for _ in range(2):
        with pytest.raises(StorageRefusal) as refused:
            start()
        storage.close()
        assert "malformed" in str(refused.value)
        assert "\n" not in str(refused.value)
    assert (storage.directory / "broker.sqlite3").read_bytes() == content
    assert not any(storage.directory.glob("damaged-*"))


def test_damaged_page_of_all_checkpoints_makes_every_replica_faulty(
    storage: SqliteStorage,
) -> None:
    damage_table(storage, models.Checkpoint)
    storage.open()
    assert ["checkpoint" in group.faulty for group in storage.load_groups()] == [True] * 3
