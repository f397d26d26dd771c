"""How operations become statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from raft_app.core.types import HardState
from raft_app.storage.protocol import StorageError
from raft_app.storage.rules import PlannedOperation
from raft_app.storage.sqlite.transaction_writer import TransactionWriter
from tests.raft_app.storage.storage_harness import append, create, data_entry

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(databases=["default", "broker"])


@pytest.fixture
def statements() -> Iterator[CaptureQueriesContext]:
    with CaptureQueriesContext(connections["broker"]) as statements:
        yield statements


def carry_out(*steps: PlannedOperation) -> TransactionWriter:
    with connections["broker"].cursor() as cursor:
        writer = TransactionWriter(cursor, "broker")
        for step in steps:
            writer.carry_out(step)
        writer.flush()
    return writer


def test_appends_of_all_groups_are_two_statements(statements: CaptureQueriesContext) -> None:
    groups = range(1, 9)
    carry_out(*(PlannedOperation(create(group_id)) for group_id in groups))
    before = len(statements)
    carry_out(
        *(
            PlannedOperation(append(data_entry(1), group_id=group_id, hard_state=HardState(2)))
            for group_id in groups
        )
    )
    kinds = [query["sql"].split()[2] for query in statements.captured_queries[before:]]
    assert kinds == ["INSERT", "UPDATE"]


def test_nothing_is_deleted_unless_it_must_be(statements: CaptureQueriesContext) -> None:
    def deletes() -> int:
        return sum("DELETE" in query["sql"] for query in statements.captured_queries)

    carry_out(PlannedOperation(create(1)), PlannedOperation(append(data_entry(1), data_entry(2))))
    before = deletes()
    carry_out(PlannedOperation(append(data_entry(3))))
    assert deletes() == before
    carry_out(PlannedOperation(append(data_entry(2, term=2)), replaces=True))
    assert deletes() == before + 1


def test_hard_state_that_meets_no_group_is_an_error() -> None:
    with pytest.raises(StorageError, match="1 hard states met 0 groups"):
        carry_out(PlannedOperation(append(hard_state=HardState(1))))


def test_growth_of_the_wal_is_estimated_from_the_data() -> None:
    small = carry_out(
        PlannedOperation(create(1)), PlannedOperation(append(data_entry(1)))
    ).wal_bytes
    large = carry_out(PlannedOperation(append(data_entry(2, data=b"x" * (1 << 20))))).wal_bytes
    assert small < 64 << 10
    assert 1 << 20 <= large < (1 << 20) + (64 << 10)
