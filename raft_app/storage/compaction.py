"""Which rows one step of a compaction deletes, and where the log begins after it; pure.

Below `first_index` there are DATA rows only, in the order of their offsets. So the log's part of a
step goes up from `first_index` and takes the other kinds, and the messages' part goes up from the
lowest row: each step finds its work without looking at what earlier ones kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft_app.core.types import EntryKind
from raft_app.storage.protocol import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_app.storage.protocol import Compact

ROW_OVERHEAD_BYTES = 64
"""What a row counts beside its data, as in `Entry.size_bytes`."""


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What a compaction needs to know of a row."""

    index: int
    kind: int
    end_offset: int
    """Offset after the last message of a DATA row."""
    size_bytes: int

    @property
    def is_message(self) -> bool:
        """True for DATA."""
        return self.kind == EntryKind.DATA.value


class Budget:
    """How much one step may still do."""

    def __init__(self, *, max_rows: int, max_bytes: int) -> None:
        """Allow `max_rows` rows and `max_bytes` bytes, but at least one row of any size."""
        self.rows = max_rows
        self._bytes = max_bytes
        self.deleted_rows = 0
        self.deleted_bytes = 0

    def keep(self) -> bool:
        """Look at a row that stays; False when nothing more may be looked at."""
        if self.rows <= 0:
            return False
        self.rows -= 1
        return True

    def delete(self, size_bytes: int) -> bool:
        """Delete a row; False when that is too much for this step."""
        if self.rows <= 0 or (self.deleted_rows and size_bytes > self._bytes):
            return False
        self.rows -= 1
        self._bytes -= size_bytes
        self.deleted_rows += 1
        self.deleted_bytes += size_bytes
        return True


def log_begins_at(first_index: int, rows: Iterable[RowFacts], budget: Budget) -> int:
    """Return the first index after a step; rows below it that are no messages are to go.

    Args:
        first_index: the present one.
        rows: those from it to below the wanted one, in order. The step ends before a missing one,
            which whoever reads the log will notice.
        budget: what the step may do.
    """
    reached = first_index
    for row in rows:
        if row.index != reached:
            break
        if not (budget.keep() if row.is_message else budget.delete(row.size_bytes)):
            break
        reached += 1
    return reached


def messages_end_at(log_start_offset: int, rows: Iterable[RowFacts], budget: Budget) -> int:
    """Return the index of the last row to delete from the front, 0 for none.

    Args:
        log_start_offset: what lies below it is to go.
        rows: those below the log, in order.
        budget: what the step may do.
    """
    last_index = 0
    for row in rows:
        if not is_dead(row, log_start_offset) or not budget.delete(row.size_bytes):
            break
        last_index = row.index
    return last_index


def is_dead(row: RowFacts, log_start_offset: int) -> bool:
    """Whether nobody may read a row below the log any more."""
    return not row.is_message or row.end_offset <= log_start_offset


def check_previous_term(compact: Compact, reached: int, term: int) -> None:
    """Check the caller's knowledge of the log.

    Raises:
        StorageError: the entry before the new beginning has another term.
    """
    if reached == compact.first_index and term != compact.previous_term:
        raise StorageError(
            f"entry {reached - 1} of group {compact.group_id} has term {term}, not"
            f" {compact.previous_term}"
        )
