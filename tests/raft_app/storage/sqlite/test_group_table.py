"""The checksums of the rows of local replicas."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections

from raft_app.core.types import HardState
from raft_app.models import RaftGroup
from raft_app.storage.protocol import GroupSpec
from raft_app.storage.sqlite.group_table import (
    hard_state_crc,
    is_intact,
    read_group,
    read_groups,
    seal,
    spec_of,
)

pytestmark = pytest.mark.django_db(databases=["default", "broker"])

OTHER_VALUES = {
    "replica_id": 12,
    "topic": "orderz",
    "partition": 1,
    "term": 6,
    "vote": 13,
    "commit": 8,
    "first_index": 4,
    "previous_term": 3,
    "log_start_offset": 3,
    "installing": True,
    "acknowledged_index": 4,
    "acknowledged_term": 3,
    "faulty": "x",
    "hard_state_crc": 1,
    "facts_crc": 1,
}
LOST_TYPES = [("term", "five"), ("first_index", 1.5), ("topic", None), ("replica_id", b"\xff")]


def row(**fields: Any) -> RaftGroup:
    values = {
        "group_id": 1,
        "replica_id": 11,
        "topic": "orders",
        "partition": 0,
        "term": 5,
        "vote": 12,
        "commit": 7,
        "first_index": 3,
        "previous_term": 2,
    }
    return seal(RaftGroup(**{**values, **fields}))


def read() -> list[RaftGroup]:
    with connections["broker"].cursor() as cursor:
        return read_groups(cursor)


def test_sealed_row_is_intact_after_it_was_stored() -> None:
    row(topic="événements").save(force_insert=True)
    row(group_id=2, faulty="lost its vote").save(force_insert=True)
    first, second = read()
    assert is_intact(first)
    assert is_intact(second)
    assert spec_of(first) == GroupSpec(1, 11, "événements", 0)
    assert second.faulty == "lost its vote"


def test_checksums_are_over_every_other_column() -> None:
    covered = {field.attname for field in RaftGroup._meta.concrete_fields} - {"group_id"}
    assert covered == OTHER_VALUES.keys()


@pytest.mark.parametrize(("column", "value"), [*OTHER_VALUES.items(), *LOST_TYPES])
def test_other_value_in_any_column_is_noticed(column: str, value: Any) -> None:
    damaged = row()
    setattr(damaged, column, value)
    assert not is_intact(damaged)


def test_row_of_another_group_is_noticed() -> None:
    damaged = row()
    damaged.group_id = 2
    assert not is_intact(damaged)


def test_text_that_is_no_text_any_more_is_read_and_noticed() -> None:
    row().save(force_insert=True)
    with connections["broker"].cursor() as cursor:
        cursor.execute("UPDATE raft_app_raftgroup SET topic = CAST(X'FF6F' AS TEXT), term = 'x'")
    [damaged] = read()
    assert not is_intact(damaged)


def test_one_row_is_found_by_its_id() -> None:
    row(group_id=2).save(force_insert=True)
    with connections["broker"].cursor() as cursor:
        assert read_group(cursor, 1) is None
        found = read_group(cursor, 2)
    assert found is not None
    assert is_intact(found)


def test_hard_state_has_a_checksum_of_its_own() -> None:
    assert row().hard_state_crc == hard_state_crc(1, HardState(5, 12, 7))
    assert hard_state_crc(1, HardState(5, 12, 7)) != hard_state_crc(2, HardState(5, 12, 7))
