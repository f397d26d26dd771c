"""How a snapshot becomes statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connections

from raft_app.storage.protocol import StorageError
from raft_app.storage.rules import PlannedOperation
from raft_app.storage.sqlite.group_table import intact_group
from raft_app.storage.sqlite.install_writer import InstallWriter
from raft_app.storage.sqlite.transaction_writer import TransactionWriter
from tests.raft_app.storage.storage_harness import (
    append,
    create,
    data_entry,
    finish,
    install,
    noop,
    statements_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

    from raft_app.storage.protocol import FinishInstall, InstallRows

pytestmark = pytest.mark.django_db(databases=["default", "broker"])


@pytest.fixture
def cursor() -> Iterator[CursorWrapper]:
    """Of a database with a replica whose checkpoint, say, is at 3."""
    with connections["broker"].cursor() as cursor:
        writer = TransactionWriter(cursor, "broker")
        entries = [data_entry(1, offset=0), noop(2), noop(3), data_entry(4, offset=1)]
        writer.carry_out(PlannedOperation(create(1)))
        writer.carry_out(PlannedOperation(append(*entries)))
        writer.flush()
        yield cursor


def begin(operation: InstallRows | FinishInstall) -> PlannedOperation:
    return PlannedOperation(operation, replaces=True, applied_index=3)


def indexes(cursor: CursorWrapper) -> list[int]:
    cursor.execute("SELECT id & 1099511627775 FROM raft_app_raftentry ORDER BY id")
    return [row[0] for row in cursor.fetchall()]


def test_rows_that_go_on_are_one_statement(cursor: CursorWrapper) -> None:
    writer = InstallWriter(cursor, "broker")
    first, second = install(data_entry(8, offset=1)), install(data_entry(9, offset=2))
    writer.install_rows(first, begin(first))
    with statements_of(connections["broker"]) as statements:
        writer.install_rows(second, PlannedOperation(second, applied_index=3))
    assert len(statements) == 2  # The row of the group is read.
    row = intact_group(cursor, 1)
    assert (row.acknowledged_index, row.acknowledged_term) == (4, 1)
    assert indexes(cursor) == [1, 2, 3, 8, 9]


def test_end_of_an_install_keeps_messages_alone(cursor: CursorWrapper) -> None:
    writer = InstallWriter(cursor, "broker")
    rows, end = install(data_entry(8, offset=1)), finish(9, term=4, next_offset=2)
    writer.install_rows(rows, begin(rows))
    assert intact_group(cursor, 1).installing
    writer.finish(end, PlannedOperation(end, applied_index=3))
    row = intact_group(cursor, 1)
    assert (row.first_index, row.previous_term, bool(row.installing)) == (10, 4, False)
    assert indexes(cursor) == [1, 8]


def test_install_that_leaves_messages_out_is_refused(cursor: CursorWrapper) -> None:
    writer = InstallWriter(cursor, "broker")
    with pytest.raises(StorageError, match="offset 2 of group 1 comes where 1 should"):
        writer.install_rows(install(data_entry(8, offset=2)), begin(install()))
    with pytest.raises(StorageError, match="offset 2 of group 1 comes where 1 should"):
        writer.finish(finish(9, next_offset=2), begin(finish(9, next_offset=2)))


def test_row_of_the_group_that_is_damaged_is_not_changed(cursor: CursorWrapper) -> None:
    cursor.execute("UPDATE raft_app_raftgroup SET first_index = 2")
    with pytest.raises(StorageError, match="damaged"):
        InstallWriter(cursor, "broker").install_rows(install(data_entry(8, offset=1)), begin(None))
