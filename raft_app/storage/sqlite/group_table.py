"""The rows of the local replicas and their checksums.

Two checksums, because the hard state changes with nearly every transaction and the facts hardly
ever: `hard_state_crc` needs no other column, so the hot statement need not read the row. A row is
read without any conversion that a damaged column could make fail.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

from raft_app.models import RaftGroup
from raft_app.storage.protocol import GroupSpec, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.backends.utils import CursorWrapper

    from raft_app.core.types import HardState

_HARD_STATE = struct.Struct("<4q")
_FACTS = struct.Struct("<7q")
_ACKNOWLEDGED_END = struct.Struct("<2q")
_NAMES = tuple(field.attname for field in RaftGroup._meta.concrete_fields)
"""In the order of the statement's columns."""
_ALL = (
    "SELECT group_id, replica_id, CAST(topic AS BLOB), partition, term, vote,"
    ' "commit", first_index, previous_term, installing, acknowledged_index,'
    " acknowledged_term, log_start_offset,"
    " CAST(faulty AS BLOB), hard_state_crc, facts_crc FROM raft_app_raftgroup"
)


def hard_state_crc(group_id: int, state: HardState) -> int:
    """Return the CRC-32 over a group's id and hard state."""
    return zlib.crc32(_HARD_STATE.pack(group_id, state.term, state.vote, state.commit))


def facts_crc(row: RaftGroup) -> int:
    """Return the CRC-32 over the columns of a row that are not its hard state.

    Raises:
        struct.error | AttributeError: a column has lost its type.
    """
    numbers = _FACTS.pack(
        row.group_id,
        row.replica_id,
        row.partition,
        row.first_index,
        row.previous_term,
        row.installing,
        row.log_start_offset,
    )
    crc = zlib.crc32(f"{row.topic}\0{row.faulty}".encode(), zlib.crc32(numbers))
    end = row.acknowledged_index, row.acknowledged_term
    return crc if end == (None, None) else zlib.crc32(_ACKNOWLEDGED_END.pack(*end), crc)


def seal(row: RaftGroup) -> RaftGroup:
    """Give a row the checksums of what its columns say; to be done before each save."""
    row.hard_state_crc = zlib.crc32(_HARD_STATE.pack(row.group_id, row.term, row.vote, row.commit))
    row.facts_crc = facts_crc(row)
    return row


def change_group(row: RaftGroup, alias: str, **columns: Any) -> None:
    """Store other values in columns of an intact row that are not its hard state."""
    for name, value in columns.items():
        setattr(row, name, value)
    seal(row).save(using=alias, update_fields=[*columns, "facts_crc"])


def is_intact(row: RaftGroup) -> bool:
    """Whether a row matches its checksums."""
    try:
        state = zlib.crc32(_HARD_STATE.pack(row.group_id, row.term, row.vote, row.commit))
        return (state, facts_crc(row)) == (row.hard_state_crc, row.facts_crc)
    except (struct.error, TypeError, ValueError):
        return False


def spec_of(row: RaftGroup) -> GroupSpec:
    """Return the fixed facts in an intact row."""
    return GroupSpec(row.group_id, row.replica_id, row.topic, row.partition)


def read_groups(cursor: CursorWrapper) -> list[RaftGroup]:
    """Return all rows by group id, damaged ones too; ask `is_intact` before believing one.

    Raises:
        DatabaseError: the pages of the table cannot be read.
    """
    cursor.execute(f"{_ALL} ORDER BY group_id")
    return [_row_of(values) for values in cursor.fetchall()]


def read_group(cursor: CursorWrapper, group_id: int) -> RaftGroup | None:
    """Return one row, damaged or not; `None` when there is none.

    Raises:
        DatabaseError: the pages of the table cannot be read.
    """
    cursor.execute(f"{_ALL} WHERE group_id = %s", (group_id,))
    values = cursor.fetchone()
    return None if values is None else _row_of(values)


def intact_group(cursor: CursorWrapper, group_id: int) -> RaftGroup:
    """Return a row that is to be changed.

    Raises:
        StorageError: it is damaged, which the next start will tell.
        DatabaseError: the pages of the table cannot be read.
    """
    row = read_group(cursor, group_id)
    if row is None or not is_intact(row):
        raise StorageError(f"the row of group {group_id} is damaged")
    return row


def _row_of(values: Iterable[Any]) -> RaftGroup:
    columns = dict(zip(_NAMES, values, strict=True))
    for name in ("topic", "faulty"):
        if isinstance(columns[name], bytes):
            columns[name] = columns[name].decode(errors="replace")
    return RaftGroup(**columns)
