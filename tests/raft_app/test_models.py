"""What the database itself keeps out, and how the tables lie in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction

from raft_app.core.types import EntryKind
from raft_app.models import (
    BrokerIdentity,
    Checkpoint,
    PeerAddress,
    RaftEntry,
    RaftGroup,
    UsedReplicaId,
)
from raft_app.storage.sqlite.group_table import seal

if TYPE_CHECKING:
    from django.db.models import Model

pytestmark = pytest.mark.django_db(databases=["default", "broker"])


def entry(group_id: int, index: int, **fields: Any) -> RaftEntry:
    values = {
        "term": 1,
        "kind": EntryKind.DATA.value,
        "base_offset": index - 1,
        "record_count": 1,
        "append_timestamp": 0,
        "crc": 0,
        "data": b"batch",
    }
    return RaftEntry(id=group_id << 40 | index, group_id=group_id, **{**values, **fields})


def group(**fields: Any) -> RaftGroup:
    values = {
        "group_id": 1,
        "replica_id": 1,
        "topic": "orders",
        "partition": 0,
        "term": 1,
        "vote": 0,
        "commit": 0,
        "first_index": 1,
        "previous_term": 0,
    }
    return seal(RaftGroup(**{**values, **fields}))


def assert_refused(row: Model) -> None:
    with pytest.raises(IntegrityError), transaction.atomic(using="broker"):
        row.save(force_insert=True)


def test_all_tables_belong_to_the_alias_broker() -> None:
    for model in (RaftGroup, RaftEntry, Checkpoint, BrokerIdentity, PeerAddress, UsedReplicaId):
        assert model.objects.count() == 0
        assert model.objects.db == "broker"


def test_migrations_make_what_the_models_say() -> None:
    call_command("makemigrations", "raft_app", check_changes=True, dry_run=True, verbosity=0)


def test_entry_knows_its_index() -> None:
    assert entry(3, 7).index == 7
    assert entry((1 << 23) - 1, (1 << 40) - 1).index == (1 << 40) - 1


def test_offset_belongs_to_one_data_entry_of_a_group() -> None:
    entry(1, 1).save(force_insert=True)
    entry(2, 1).save(force_insert=True)
    assert_refused(entry(1, 2, base_offset=0))
    for index in (3, 4):
        entry(1, index, kind=EntryKind.COMMAND.value, base_offset=0).save(force_insert=True)


def test_id_of_an_entry_lies_within_its_group() -> None:
    assert_refused(entry(1, 0))
    row = entry(2, 1)
    row.group_id = 1
    assert_refused(row)
    entry((1 << 23) - 1, (1 << 40) - 1).save(force_insert=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"group_id": 0},
        {"group_id": 1 << 23},
        {"replica_id": 0},
        {"term": -1},
        {"vote": -1},
        {"commit": -1},
        {"first_index": 0},
    ],
)
def test_impossible_group_is_refused(fields: dict[str, int]) -> None:
    assert_refused(group(**fields))
    group().save(force_insert=True)


def test_used_replica_id_is_remembered_once() -> None:
    UsedReplicaId.objects.create(group_id=1, replica_id=1)
    UsedReplicaId.objects.create(group_id=1, replica_id=2)
    assert_refused(UsedReplicaId(group_id=1, replica_id=1))


def test_there_is_one_identity() -> None:
    BrokerIdentity.objects.create(incarnation="0" * 32, format_version=1)
    assert_refused(BrokerIdentity(id=2, incarnation="1" * 32, format_version=1))


def test_ids_of_hot_tables_are_the_row_ids_of_sqlite() -> None:
    with connections["broker"].cursor() as cursor:
        for model in (RaftGroup, RaftEntry, Checkpoint):
            table = model._meta.db_table
            cursor.execute("SELECT lower(type) FROM pragma_table_info(%s) WHERE pk", [table])
            assert cursor.fetchall() == [("integer",)]
            cursor.execute(
                "SELECT count(*) FROM pragma_index_list(%s) WHERE origin = 'pk'", [table]
            )
            assert cursor.fetchone() == (0,)


def test_rows_say_what_they_are() -> None:
    assert str(group()) == "orders/0 (group 1)"
    assert str(entry(1, 2)) == "entry 2 of group 1"
    assert str(Checkpoint(group_id=1, applied_index=5)) == "checkpoint of group 1 at 5"
    assert str(BrokerIdentity(broker_id=3, incarnation="ab")) == "broker 3 (ab)"
    assert str(PeerAddress(broker_id=3, raft_address="a:1")) == "broker 3 at a:1"
    assert str(UsedReplicaId(group_id=1, replica_id=2)) == "replica 2 of group 1"
