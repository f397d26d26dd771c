"""How a step of a compaction becomes statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connections

from raft_app.storage.rules import PlannedOperation
from raft_app.storage.sqlite.group_table import intact_group
from raft_app.storage.sqlite.log_compactor import LogCompactor
from raft_app.storage.sqlite.transaction_writer import TransactionWriter
from tests.raft_app.storage.storage_harness import (
    append,
    compact,
    create,
    data_entry,
    noop,
    statements_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

    from raft_app.storage.protocol import Compact

pytestmark = pytest.mark.django_db(databases=["default", "broker"])

ROWS = 2_000


@pytest.fixture
def cursor() -> Iterator[CursorWrapper]:
    """Of a database with a long log, in which every tenth entry is none of messages."""
    with connections["broker"].cursor() as cursor:
        writer = TransactionWriter(cursor, "broker")
        writer.carry_out(PlannedOperation(create(1)))
        writer.carry_out(
            PlannedOperation(
                append(
                    *(
                        data_entry(index, offset=index - 1 - index // 10)
                        if index % 10
                        else noop(index)
                        for index in range(1, ROWS + 1)
                    )
                )
            )
        )
        writer.flush()
        yield cursor


def run(cursor: CursorWrapper, operation: Compact) -> LogCompactor:
    compactor = LogCompactor(cursor, "broker", operation)
    compactor.run()
    return compactor


def stored_rows(cursor: CursorWrapper) -> int:
    cursor.execute("SELECT count(*) FROM raft_app_raftentry")
    return cursor.fetchone()[0]


def test_step_is_a_few_statements_whatever_it_deletes(cursor: CursorWrapper) -> None:
    with statements_of(connections["broker"]) as statements:
        compactor = run(cursor, compact(ROWS + 1, log_start_offset=500))
    assert len(statements) <= 8
    assert compactor.left
    assert compactor.budget.deleted_rows == 100
    assert intact_group(cursor, 1).first_index == 1_001


def test_step_with_nothing_to_do_changes_nothing(cursor: CursorWrapper) -> None:
    while run(cursor, compact(ROWS + 1, log_start_offset=500)).left:
        pass
    assert stored_rows(cursor) == ROWS * 9 // 10 - 500
    with statements_of(connections["broker"]) as statements:
        compactor = run(cursor, compact(ROWS + 1, log_start_offset=500))
    assert (compactor.left, compactor.budget.deleted_rows) == (False, 0)
    assert {statement.split()[0] for statement in statements} == {"SELECT"}


def test_later_steps_do_not_look_at_what_earlier_ones_kept(cursor: CursorWrapper) -> None:
    while run(cursor, compact(ROWS - 9)).left:
        pass
    compactor = run(cursor, compact(ROWS + 1, max_rows=30))
    assert not compactor.left
    assert intact_group(cursor, 1).first_index == ROWS + 1
