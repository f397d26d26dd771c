"""What the tests of both storages share: values, and a disk that can be crashed and damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any

from raft_app.core.types import Entry, EntryKind, HardState, Membership, RaftMember
from raft_app.storage.protocol import (
    Checkpoint,
    Compact,
    CreateGroup,
    FinishInstall,
    GroupSpec,
    GroupWrite,
    InstallRows,
)
from raft_app.storage.sqlite.group_table import hard_state_crc
from raft_app.storage.sqlite.storage import SqliteStorage
from tests.doubles.storage import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.db.backends.base.base import BaseDatabaseWrapper

    from raft_app.storage.protocol import Storage, StoredGroup

MEMBERSHIP = Membership(voters=(RaftMember(1, 11), RaftMember(2, 12), RaftMember(3, 13)), version=7)
INITIAL = Checkpoint(
    applied_index=0, applied_term=0, membership=MEMBERSHIP, membership_index=0, state=b""
)


def data_entry(index: int, *, term: int = 1, offset: int | None = None, **fields: Any) -> Entry:
    """One message per entry; offsets follow the index unless given."""
    fields.setdefault("data", b"batch %d" % index)
    fields.setdefault("record_count", 1)
    return Entry(
        index=index,
        term=term,
        kind=EntryKind.DATA,
        base_offset=index - 1 if offset is None else offset,
        append_timestamp=1_700_000_000_000 + index,
        **fields,
    )


def noop(index: int, *, term: int = 1) -> Entry:
    return Entry(index=index, term=term, kind=EntryKind.NOOP)


def checkpoint_at(index: int, *, term: int = 1, state: bytes = b"state") -> Checkpoint:
    return Checkpoint(
        applied_index=index,
        applied_term=term,
        membership=MEMBERSHIP,
        membership_index=0,
        state=state,
    )


def create(group_id: int = 1, *, replica_id: int = 1, entries: tuple[Entry, ...] = ()) -> Any:
    return CreateGroup(
        spec=GroupSpec(group_id, replica_id, topic="orders", partition=group_id - 1),
        hard_state=HardState(term=1),
        entries=entries,
        checkpoint=INITIAL,
    )


def append(*entries: Entry, group_id: int = 1, hard_state: HardState | None = None) -> GroupWrite:
    return GroupWrite(group_id=group_id, hard_state=hard_state, entries=entries)


def install(*rows: Entry, group_id: int = 1, log_start_offset: int = 0) -> InstallRows:
    return InstallRows(group_id, rows, log_start_offset)


def finish(
    index: int,
    *,
    next_offset: int,
    group_id: int = 1,
    term: int = 1,
    log_start_offset: int = 0,
    state: bytes = b"snapshot",
    hard_state: HardState | None = None,
) -> FinishInstall:
    checkpoint = checkpoint_at(index, term=term, state=state)
    return FinishInstall(group_id, checkpoint, log_start_offset, next_offset, hard_state)


def compact(
    first_index: int,
    *,
    term: int = 1,
    group_id: int = 1,
    log_start_offset: int = 0,
    **limits: int,
) -> Compact:
    return Compact(group_id, first_index, term, log_start_offset, **limits)


@contextmanager
def statements_of(connection: BaseDatabaseWrapper) -> Iterator[list[str]]:
    """Note every statement, also of cursors that were made before."""
    found: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *call: Any) -> Any:
        found.append(sql)
        return execute(sql, *call)

    with connection.execute_wrapper(note):
        yield found


def only_group(storage: Storage) -> StoredGroup:
    [group] = storage.load_groups()
    return group


class MemoryDisk:
    """A `MemoryStorage` behind the calls that both kinds of disk have."""

    def __init__(self, _directory: Path) -> None:
        self.storage = MemoryStorage()

    def reopened(self) -> MemoryStorage:
        self.storage.close()
        self.storage.open()
        return self.storage

    def second(self) -> MemoryStorage:
        return self.storage

    def damage_entry(self, group_id: int, index: int) -> None:
        self.storage.damage_entry(group_id, index)

    def lose_entry(self, group_id: int, index: int) -> None:
        self.storage.lose_entry(group_id, index)

    def damage_checkpoint(self, group_id: int) -> None:
        self.storage.damage_checkpoint(group_id)

    def damage_hard_state(self, group_id: int, column: str, value: int) -> None:
        self.storage.damage_hard_state(group_id, **{column: value})

    def claim_format_version(self, version: int) -> None:
        self.storage = MemoryStorage(format_version=version)


class SqliteDisk:
    """A `SqliteStorage`, its file damaged behind its back."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.storage = SqliteStorage(directory)

    def reopened(self) -> SqliteStorage:
        self.storage.close()
        self.storage = SqliteStorage(self.directory)
        self.storage.open()
        return self.storage

    def second(self) -> SqliteStorage:
        return SqliteStorage(self.directory)

    def damage_entry(self, group_id: int, index: int) -> None:
        self.execute(
            "UPDATE raft_app_raftentry SET data = X'00' || data WHERE id = ?",
            group_id << 40 | index,
        )

    def lose_entry(self, group_id: int, index: int) -> None:
        self.execute("DELETE FROM raft_app_raftentry WHERE id = ?", group_id << 40 | index)

    def damage_checkpoint(self, group_id: int) -> None:
        self.execute(
            "UPDATE raft_app_checkpoint SET applied_index = applied_index + 1 WHERE group_id = ?",
            group_id,
        )

    def damage_hard_state(self, group_id: int, column: str, value: int) -> None:
        """Store another hard state behind the log's back, with the checksum that belongs to it."""
        path = self.directory / "broker.sqlite3"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            found = connection.execute(
                'SELECT term, vote, "commit" FROM raft_app_raftgroup WHERE group_id = ?',
                (group_id,),
            ).fetchone()
            state = replace(HardState(*found), **{column: value})
            connection.execute(
                'UPDATE raft_app_raftgroup SET term = ?, vote = ?, "commit" = ?,'
                " hard_state_crc = ? WHERE group_id = ?",
                (*astuple(state), hard_state_crc(group_id, state), group_id),
            )

    def claim_format_version(self, version: int) -> None:
        self.execute("UPDATE raft_app_brokeridentity SET format_version = ?", version)

    def execute(self, statement: str, *parameters: int) -> None:
        path = self.directory / "broker.sqlite3"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(statement, parameters)


Disk = MemoryDisk | SqliteDisk
