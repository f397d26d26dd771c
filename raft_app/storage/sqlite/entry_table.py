"""The rows of the entries of all logs: hot statements in raw SQL, and their checksum."""

from __future__ import annotations

import struct
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import DatabaseError

from raft_app.core.types import Entry, EntryKind
from raft_app.storage.compaction import ROW_OVERHEAD_BYTES, RowFacts
from raft_app.storage.protocol import CorruptEntry
from raft_app.storage.rules import INDEX_BITS, INDEX_LIMIT
from raft_app.storage.scrub import Bounds
from raft_app.storage.sqlite.database import is_corruption

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.db.backends.utils import CursorWrapper

Row = tuple[int, int, int, int, int, int, int, int, bytes]
"""The columns in the order in which the statements name them."""

_CHECKED = struct.Struct("<7q")

INSERT = (
    "INSERT INTO raft_app_raftentry (id, group_id, term, kind, base_offset, record_count,"
    " append_timestamp, crc, data) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_DELETE = "DELETE FROM raft_app_raftentry WHERE id BETWEEN %s AND %s"
_LAST_ID = "SELECT max(id) FROM raft_app_raftentry WHERE id BETWEEN %s AND %s"
_TERM = "SELECT term FROM raft_app_raftentry WHERE id = %s"
_RANGE = (
    "SELECT id, group_id, term, kind, base_offset, record_count, append_timestamp, crc, data"
    " FROM raft_app_raftentry WHERE id BETWEEN %s AND %s ORDER BY id"
)
_LOG_RANGE = (
    "SELECT id, group_id, term, kind, base_offset, record_count, append_timestamp, crc, data"
    " FROM raft_app_raftentry WHERE id BETWEEN max(%s, ("
    "SELECT group_id << 40 | first_index FROM raft_app_raftgroup"
    " WHERE group_id = %s AND NOT installing)) AND %s ORDER BY id"
)
# The literal kind, DATA, makes SQLite use the partial index. The innermost query gives the offset
# back, or nothing when the group does not serve it; what is compared with nothing is not found.
_BATCHES = (
    "SELECT id, group_id, term, kind, base_offset, record_count, append_timestamp, crc, data"
    " FROM raft_app_raftentry WHERE group_id = %s AND kind = 1 AND base_offset >= ("
    "SELECT max(base_offset) FROM raft_app_raftentry WHERE group_id = %s AND kind = 1"
    " AND base_offset <= (SELECT %s FROM raft_app_raftgroup"
    " WHERE group_id = %s AND log_start_offset <= %s)) AND base_offset < %s ORDER BY base_offset"
)
_SCRUB = (
    "SELECT first_index, log_start_offset, installing, entry.id, entry.group_id, entry.term, kind,"
    " base_offset, record_count, append_timestamp, entry.crc, data"
    " FROM raft_app_raftgroup AS own CROSS JOIN raft_app_raftentry AS entry"
    " WHERE own.group_id = %s AND entry.id BETWEEN %s AND %s ORDER BY entry.id"
)
# `length` does not read the data.
_ROW_FACTS = (
    "SELECT id, kind, base_offset + record_count, length(data) FROM raft_app_raftentry"
    " WHERE id BETWEEN %s AND %s ORDER BY id LIMIT %s"
)
_DELETE_OTHERS = "DELETE FROM raft_app_raftentry WHERE id BETWEEN %s AND %s AND kind != 1"
_LAST_MESSAGE = (
    "SELECT id, base_offset + record_count FROM raft_app_raftentry WHERE group_id = %s"
    " AND kind = 1 ORDER BY base_offset DESC LIMIT 1"
)


def entry_id(group_id: int, index: int) -> int:
    """Return the primary key of an entry."""
    return group_id << INDEX_BITS | index


def row_of(group_id: int, entry: Entry) -> Row:
    """Return what is stored of an entry, with its checksum."""
    checked = (
        group_id << INDEX_BITS | entry.index,
        group_id,
        entry.term,
        int(entry.kind),
        entry.base_offset,
        entry.record_count,
        entry.append_timestamp,
    )
    return (*checked, zlib.crc32(entry.data, zlib.crc32(_CHECKED.pack(*checked))), entry.data)


def entry_of(group_id: int, row: Row) -> Entry:
    """Return the entry that a row holds.

    Raises:
        CorruptEntry: the row does not match its checksum.
    """
    try:
        crc = zlib.crc32(row[8], zlib.crc32(_CHECKED.pack(*row[:7])))
    except (struct.error, TypeError):  # A column that has lost even its type.
        crc = -1
    index = row[0] & (INDEX_LIMIT - 1)
    if crc != row[7]:
        raise CorruptEntry(
            group_id, f"entry {index} of group {group_id} does not match its checksum"
        )
    return Entry(
        index=index,
        term=row[2],
        kind=EntryKind(row[3]),
        data=row[8],
        base_offset=row[4],
        record_count=row[5],
        append_timestamp=row[6],
    )


class EntryTable:
    """The statements on the table, through one cursor."""

    def __init__(self, cursor: CursorWrapper) -> None:
        """Use `cursor`; whoever made it closes it."""
        self._cursor = cursor

    def insert(self, rows: Sequence[Row]) -> None:
        """Add rows; an id or a (group, base offset) that exists is an IntegrityError."""
        self._cursor.executemany(INSERT, rows)

    def delete_from(self, group_id: int, index: int) -> None:
        """Delete a group's rows from `index` on."""
        self._cursor.execute(_DELETE, (entry_id(group_id, index), entry_id(group_id + 1, 0) - 1))

    def delete_range(self, group_id: int, first_index: int, last_index: int) -> None:
        """Delete a group's rows of an inclusive range of indexes."""
        bounds = (entry_id(group_id, first_index), entry_id(group_id, last_index))
        self._cursor.execute(_DELETE, bounds)

    def delete_others(self, group_id: int, first_index: int, last_index: int) -> None:
        """Delete a group's rows of an inclusive range of indexes that are no messages."""
        bounds = (entry_id(group_id, first_index), entry_id(group_id, last_index))
        self._cursor.execute(_DELETE_OTHERS, bounds)

    def row_facts(
        self, group_id: int, first_index: int, last_index: int, *, max_rows: int
    ) -> list[RowFacts]:
        """Return what a compaction needs of an inclusive range of rows, in order, unverified."""
        bounds = (entry_id(group_id, first_index), entry_id(group_id, last_index))
        self._cursor.execute(_ROW_FACTS, (*bounds, max_rows))
        return [
            RowFacts(row_id & (INDEX_LIMIT - 1), kind, end_offset, size + ROW_OVERHEAD_BYTES)
            for row_id, kind, end_offset, size in self._cursor.fetchall()
        ]

    def last_message(self, group_id: int) -> tuple[int, int]:
        """Return the index of a group's last message and the offset after it; zeros for none."""
        with reading(group_id):
            self._cursor.execute(_LAST_MESSAGE, (group_id,))
            row = self._cursor.fetchone()
        return (0, 0) if row is None else (row[0] & (INDEX_LIMIT - 1), row[1])

    def last_index(self, group_id: int) -> int:
        """Return the highest index stored of a group; 0 when there is none."""
        with reading(group_id):
            bounds = (entry_id(group_id, 0), entry_id(group_id + 1, 0) - 1)
            self._cursor.execute(_LAST_ID, bounds)
            found: int | None = self._cursor.fetchone()[0]
        return 0 if found is None else found & (INDEX_LIMIT - 1)

    def term_at(self, group_id: int, index: int) -> int | None:
        """Return the term of one entry, unverified; `None` when it is not stored."""
        with reading(group_id):
            self._cursor.execute(_TERM, (entry_id(group_id, index),))
            row = self._cursor.fetchone()
        return None if row is None else row[0]

    def entries(self, group_id: int, first_index: int, last_index: int) -> Iterator[Entry]:
        """Yield the stored entries of an inclusive range of indexes, in order.

        Raises:
            CorruptEntry: a row does not match its checksum.
        """
        with reading(group_id):
            self._cursor.execute(
                _RANGE, (entry_id(group_id, first_index), entry_id(group_id, last_index))
            )
            yield from self._fetched(group_id)

    def log_entries(self, group_id: int, first_index: int, last_index: int) -> Iterator[Entry]:
        """Yield those of `entries` that belong to the log of a group that is not installing."""
        with reading(group_id):
            self._cursor.execute(
                _LOG_RANGE,
                (entry_id(group_id, first_index), group_id, entry_id(group_id, last_index)),
            )
            yield from self._fetched(group_id)

    def data_entries(self, group_id: int, offset: int, high_watermark: int) -> Iterator[Entry]:
        """Yield the DATA entries from the last that begins at or below `offset`, in order.

        Ends below `high_watermark`; yields nothing when none begins at or below `offset`, or when
        that is below the log start offset.

        Raises:
            CorruptEntry: a row does not match its checksum.
        """
        with reading(group_id):
            self._cursor.execute(
                _BATCHES, (group_id, group_id, offset, group_id, offset, high_watermark)
            )
            yield from self._fetched(group_id)

    def bounded_entries(self, group_id: int, first_index: int) -> Iterator[tuple[Bounds, Entry]]:
        """Yield a group's entries from an index on, with where its log and messages begin.

        Raises:
            CorruptEntry: a row does not match its checksum.
        """
        with reading(group_id):
            bounds = (entry_id(group_id, first_index), entry_id(group_id + 1, 0) - 1)
            self._cursor.execute(_SCRUB, (group_id, *bounds))
            while (row := self._cursor.fetchone()) is not None:
                yield Bounds(row[0], row[1], bool(row[2])), entry_of(group_id, row[3:])

    def _fetched(self, group_id: int) -> Iterator[Entry]:
        # Django's own iteration would close the cursor when it is not read to its end.
        fetch = self._cursor.fetchone
        while (row := fetch()) is not None:
            yield entry_of(group_id, row)


@contextmanager
def reading(group_id: int) -> Iterator[None]:
    """Turn SQLite's word for a damaged file into the replica's.

    Raises:
        CorruptEntry: the pages that hold rows of the group are damaged.
    """
    try:
        yield
    except DatabaseError as error:
        if not is_corruption(error):
            raise
        raise CorruptEntry(group_id, f"rows of group {group_id} are damaged: {error}") from error
