"""Gives the disk space of deleted rows back to the file system.

SQLite puts the pages of deleted rows on a list of free ones and fills those first when rows are
added: a topic whose retention deletes as much as is produced neither grows nor shrinks the file.
Pages beyond a tenth of the file go back: `PRAGMA incremental_vacuum` moves pages from the file's
end into free ones, a step of at most 1 MiB at a time on the storage thread between two appends,
and the next checkpoint of the WAL cuts the file off. After the last step that checkpoint comes at
once. The WAL itself keeps its length, a little more than its limit, until the broker stops.

Rows of replicas that were dropped go first; nothing but their ids tells of those replicas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.failpoints import reach
from raft_app.storage.compaction import Budget
from raft_app.storage.rules import INDEX_LIMIT
from raft_app.storage.sqlite.entry_table import EntryTable

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

PAGE_BYTES = 4096
KEPT_SHARE = 10
"""One in so many pages of the file may be free: what appends will fill again."""
ROWS_MAX = 1_000
"""Most rows of a dropped replica that one step deletes."""
_DROPPED = (
    "SELECT used.group_id FROM raft_app_usedreplicaid AS used"
    " WHERE NOT EXISTS (SELECT 1 FROM raft_app_raftgroup AS own"
    " WHERE own.group_id = used.group_id)"
    " AND EXISTS (SELECT 1 FROM raft_app_raftentry AS entry"
    " WHERE entry.id BETWEEN used.group_id << 40 AND (used.group_id << 40) + 1099511627775) LIMIT 1"
)


class SpaceReleaser:
    """Inside a transaction of the caller.

    Attributes:
        pages: how many the file will be shorter by.
        written_pages: about how many the step adds to the WAL.
        left: whether another step would find something to do.
        dropped: group id of the dropped replica whose rows the step deleted; 0 for none.
    """

    def __init__(self, cursor: CursorWrapper) -> None:
        """Work through `cursor`."""
        self.pages = 0
        self.written_pages = 0
        self.left = False
        self.dropped = 0
        self._cursor = cursor

    def run(self, max_bytes: int) -> None:
        """Delete rows of a dropped replica, or shorten the file, by about that many bytes."""
        self._cursor.execute(_DROPPED)
        row = self._cursor.fetchone()
        if row is None:
            self._shorten(max(1, max_bytes // PAGE_BYTES))
        else:
            self.dropped = row[0]
            self.delete_rows(self.dropped, max_bytes)
            reach("release.rows-deleted")
            self.left = True

    def delete_rows(self, group_id: int, max_bytes: int) -> None:
        """Delete the first rows of a dropped replica; `left` tells whether there are more."""
        table = EntryTable(self._cursor)
        budget = Budget(max_rows=ROWS_MAX, max_bytes=max_bytes)
        rows = table.row_facts(group_id, 0, INDEX_LIMIT - 1, max_rows=ROWS_MAX + 1)
        deleted = 0
        while deleted < len(rows) and budget.delete(rows[deleted].size_bytes):
            deleted += 1
        if deleted:
            table.delete_range(group_id, 0, rows[deleted - 1].index)
        self.written_pages += deleted + budget.deleted_bytes // PAGE_BYTES
        self.left = deleted < len(rows)

    def _shorten(self, max_pages: int) -> None:
        free, pages = self._pragma("freelist_count"), self._pragma("page_count")
        # So many that of what the file has then, one page in `KEPT_SHARE` is free.
        surplus = (KEPT_SHARE * free - pages) // (KEPT_SHARE - 1)
        if surplus <= 0:
            return
        self.pages = min(surplus, max_pages)
        for _ in range(self.pages):
            # Of a larger number Python's driver carries out the first page alone: it stops at a
            # row, of which each page gives one, without columns.
            self._cursor.execute("PRAGMA incremental_vacuum(1)")
            self._cursor.fetchall()
            reach("release.page-freed")
        self.written_pages += 2 * self.pages
        self.left = surplus > self.pages

    def _pragma(self, name: str) -> int:
        self._cursor.execute(f"PRAGMA {name}")
        value: int = self._cursor.fetchone()[0]
        return value
