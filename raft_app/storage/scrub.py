"""What a scrub checks besides the checksum of each row: that no row is missing; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft_app.core.types import EntryKind
from raft_app.storage.protocol import CorruptEntry, Scrubbed, ScrubMark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_app.core.types import Entry


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a group's log and its messages begin."""

    first_index: int
    log_start_offset: int
    installing: bool


class Scrub:
    """One step: rows in order, each compared with the one before."""

    def __init__(self, group_id: int, after: ScrubMark, max_bytes: int) -> None:
        """Begin after a row, which is looked at again if it is still there.

        Args:
            group_id: whose rows.
            after: the last row of the step before.
            max_bytes: limit on the sum of `Entry.size_bytes`; one row is verified anyway.
        """
        self._group_id = group_id
        self._after = after
        self._max_bytes = max_bytes
        self._previous_index = 0 if after.index == 0 else None
        """`None` when unknown: what was there was replaced or deleted since."""
        self._end_offset: int | None = None

    def run(self, found: Iterable[tuple[Bounds, Entry]]) -> Scrubbed:
        """Verify rows up to the limit.

        Args:
            found: the group's rows from the mark on, that one included; taking one verifies its
                checksum. All from one state of the database.

        Raises:
            CorruptEntry: a row is missing between two others, or before the first.
        """
        last: Entry | None = None
        rows, size_bytes = 0, 0
        for bounds, entry in found:
            if entry.index != self._after.index:
                size_bytes += entry.size_bytes
                if rows and size_bytes > self._max_bytes:
                    return Scrubbed(self._mark_at(last), rows, complete=False)
                self._check(bounds, entry)
                rows += 1
            elif entry.term == self._after.term:  # nothing before it was replaced
                self._end_offset = self._after.end_offset
            last, self._previous_index = entry, entry.index
            if entry.kind is EntryKind.DATA:
                self._end_offset = entry.base_offset + entry.record_count
        return Scrubbed(self._mark_at(last), rows, complete=True)

    def _mark_at(self, last: Entry | None) -> ScrubMark:
        """Return where the step ended; the mark before it where it has seen nothing."""
        return self._after if last is None else ScrubMark(last.index, last.term, self._end_offset)

    def _check(self, bounds: Bounds, entry: Entry) -> None:
        if not bounds.installing and entry.index > bounds.first_index:
            self._check_index(bounds, entry.index)
        if entry.kind is EntryKind.DATA:
            self._check_offset(bounds, entry.base_offset)

    def _check_index(self, bounds: Bounds, index: int) -> None:
        if self._previous_index not in (None, index - 1):
            missing = max(self._previous_index + 1, bounds.first_index)
            raise CorruptEntry(
                self._group_id, f"entry {missing} of group {self._group_id} is missing"
            )

    def _check_offset(self, bounds: Bounds, offset: int) -> None:
        """Compare with the messages before; holes below the log start do no harm."""
        expected = self._end_offset
        if expected is None:
            expected = bounds.log_start_offset if self._after.index == 0 else offset
        if offset != expected and max(offset, expected) > bounds.log_start_offset:
            raise CorruptEntry(
                self._group_id, f"offset {expected} of group {self._group_id} is not stored"
            )
