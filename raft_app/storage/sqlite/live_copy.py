"""A copy of a broker's database while the broker serves it: read in slices, group by group.

A reader of the whole file would keep the WAL from being written back for as long as it takes, and
the storage thread would wait for it again and again. So each slice is a read transaction of its
own. What fits together without one: an entry that is committed never changes, so those are copied
first; the last transaction of a group reads its row, its checkpoint and all entries behind. Groups
do not depend on each other, so that each may be of another moment.

The file is opened for reading alone: SQLite then neither writes the WAL back nor deletes it when it
is closed, whatever became of the broker meanwhile.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from raft_app.storage.protocol import StorageRefusal
from raft_app.storage.rules import INDEX_LIMIT
from raft_app.storage.sqlite.entry_table import entry_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SLICE_BYTES = 1 << 20
"""Rows that one transaction reads, about: some milliseconds."""
TRIES = 3
"""For a group whose replica is replaced meanwhile."""
BUSY_S = 5.0
_ENTRIES = "raft_app_raftentry"
_GROUPS = "raft_app_raftgroup"
_CHECKPOINTS = "raft_app_checkpoint"
_LAST = ("raft_app_usedreplicaid", "raft_app_peeraddress", "raft_app_brokeridentity")
"""Copied behind all groups: replica ids that were used while these were read are among them."""
_OWN = "django_migrations"


class CopiedGroup(NamedTuple):
    """A replica in the copy."""

    group_id: int
    topic: str
    partition: int
    last_index: int


def copy_database(source: Path, target: Path, *, pause: Callable[[int], None]) -> list[CopiedGroup]:
    """Copy a broker's database into a file that is not synced yet.

    Args:
        source: `broker.sqlite3` of a broker that runs, or that was stopped in order.
        target: the new file.
        pause: called after each slice with its bytes; slows the copy down.

    Returns:
        The replicas in it.

    Raises:
        StorageRefusal: there is nothing to copy, or a replica is replaced again and again.
        sqlite3.Error: a file is damaged, or the disk refused.
    """
    with closing(_reader(source)) as reader, closing(sqlite3.connect(target)) as writer:
        writer.isolation_level = None
        writer.execute("PRAGMA auto_vacuum=INCREMENTAL")
        writer.execute("PRAGMA journal_mode=OFF")
        writer.execute("PRAGMA synchronous=OFF")
        with _reading(reader):
            tables = _schema(reader)
            if _GROUPS not in tables:
                raise StorageRefusal(f"{source} is no database of a broker")
            group_ids = [row[0] for row in reader.execute(f"SELECT group_id FROM {_GROUPS}")]  # noqa: S608 - a constant
            for statement in tables.values():
                writer.execute(statement)
            _copy_table(reader, writer, _OWN)
        found = [_copy_group(reader, writer, group_id, pause) for group_id in sorted(group_ids)]
        with _reading(reader):
            for table in _LAST:
                _copy_table(reader, writer, table)
    return [one for one in found if one is not None]


def _reader(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise StorageRefusal(f"there is no {path}")
    reader = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
    reader.isolation_level = None
    return reader


@contextmanager
def _reading(reader: sqlite3.Connection) -> Iterator[None]:
    reader.execute("BEGIN")
    try:
        yield
    finally:
        reader.execute("ROLLBACK")


def _schema(reader: sqlite3.Connection) -> dict[str, str]:
    """Return what makes the tables and indexes, by name, tables first."""
    rows = reader.execute(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        " ORDER BY type = 'index'"
    )
    return dict(rows.fetchall())


def _copy_table(reader: sqlite3.Connection, writer: sqlite3.Connection, table: str) -> None:
    rows = reader.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - one of ours
    _insert(writer, table, rows)


def _insert(writer: sqlite3.Connection, table: str, rows: list[tuple[object, ...]]) -> None:
    if rows:
        places = ", ".join("?" * len(rows[0]))
        writer.execute("BEGIN")
        writer.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608 - one of ours
        writer.execute("COMMIT")


def _copy_group(
    reader: sqlite3.Connection,
    writer: sqlite3.Connection,
    group_id: int,
    pause: Callable[[int], None],
) -> CopiedGroup | None:
    """Copy one replica; None when it was dropped meanwhile."""
    low, high = entry_id(group_id, 0), entry_id(group_id + 1, 0) - 1
    for _ in range(TRIES):
        replica_id, after = None, low
        while True:
            with _reading(reader):
                facts = _facts(reader, group_id)
                if facts is None or replica_id not in (None, facts[0]):
                    break
                replica_id = facts[0]
                until = low + facts[1]
                rows, size = _slice(reader, after, until)
                if not rows:
                    return _finish(reader, writer, group_id, after)
            _insert(writer, _ENTRIES, rows)
            after = int(str(rows[-1][0]))
            pause(size)
        writer.execute(f"DELETE FROM {_ENTRIES} WHERE id BETWEEN ? AND ?", (low, high))  # noqa: S608
        if facts is None:
            return None
    raise StorageRefusal(f"the replica of group {group_id} is replaced again and again")


def _facts(reader: sqlite3.Connection, group_id: int) -> tuple[int, int] | None:
    """Return the replica id and an index up to which everything is committed."""
    row = reader.execute(
        f'SELECT replica_id, "commit" FROM {_GROUPS} WHERE group_id = ?',  # noqa: S608 - a constant
        (group_id,),
    ).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def _slice(
    reader: sqlite3.Connection, after: int, until: int
) -> tuple[list[tuple[object, ...]], int]:
    rows, size = [], 0
    found = reader.execute(
        f"SELECT * FROM {_ENTRIES} WHERE id > ? AND id <= ? ORDER BY id",  # noqa: S608 - a constant
        (after, until),
    )
    for row in found:
        rows.append(row)
        size += len(row[-1])
        if size >= SLICE_BYTES:
            break
    found.close()
    return rows, size


def _finish(
    reader: sqlite3.Connection, writer: sqlite3.Connection, group_id: int, after: int
) -> CopiedGroup:
    """Copy the row, the checkpoint and what is not known to be committed, in one transaction."""
    end = entry_id(group_id + 1, 0)
    rows = reader.execute(
        f"SELECT * FROM {_ENTRIES} WHERE id > ? AND id < ? ORDER BY id",  # noqa: S608 - a constant
        (after, end),
    ).fetchall()
    _insert(writer, _ENTRIES, rows)
    for table in (_CHECKPOINTS, _GROUPS):
        own = reader.execute(f"SELECT * FROM {table} WHERE group_id = ?", (group_id,))  # noqa: S608
        _insert(writer, table, own.fetchall())
    topic, partition = reader.execute(
        f"SELECT topic, partition FROM {_GROUPS} WHERE group_id = ?",  # noqa: S608 - a constant
        (group_id,),
    ).fetchone()
    last = int(rows[-1][0]) if rows else after
    return CopiedGroup(group_id, topic, int(partition), last & (INDEX_LIMIT - 1))
