"""What the in-memory storage holds of one replica."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from raft_app.core.types import EntryKind
from raft_app.storage.compaction import (
    Budget,
    RowFacts,
    check_previous_term,
    is_dead,
    log_begins_at,
    messages_end_at,
)
from raft_app.storage.protocol import CorruptEntry
from raft_app.storage.recovery import GroupHeader
from raft_app.storage.rules import check_end
from raft_app.storage.scrub import Bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from raft_app.core.types import Entry, HardState
    from raft_app.storage.protocol import (
        Checkpoint,
        Compact,
        FinishInstall,
        GroupSpec,
        GroupWrite,
        InstallRows,
    )
    from raft_app.storage.rules import PlannedOperation


@dataclass(slots=True)
class MemoryReplica:
    """One replica's rows, in the order of their indexes; a `raft_app.storage.recovery.StoredLog`.

    Its rows are a plain list, looked at from one end to the other: what it answers is right by
    inspection, and the other storage is compared with it.
    """

    spec: GroupSpec
    hard_state: HardState
    checkpoint: Checkpoint | None
    first_index: int
    previous_term: int
    faulty: str = ""
    log_start_offset: int = 0
    installing: bool = False
    acknowledged_end: tuple[int, int] | None = None
    rows: list[Entry] = field(default_factory=list)
    """Ascending in index; from `first_index` on without gaps unless installing."""
    damaged: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)

    def copy(self) -> MemoryReplica:
        """Return a replica that changes to this one do not touch."""
        return replace(self, rows=list(self.rows), damaged=set(self.damaged), lost=set(self.lost))

    # --- writing ----------------------------------------------------------------------------

    def write(self, write: GroupWrite) -> None:
        """Replace the log from the first entry on, and the hard state."""
        if write.entries:
            self._cut(write.entries[0].index)
            self.rows += write.entries
        if write.hard_state is not None:
            self.hard_state = write.hard_state

    def install_rows(self, install: InstallRows, step: PlannedOperation) -> None:
        """Store messages; with the first of an install, the log above the checkpoint goes.

        Raises:
            StorageError: they do not go on where the stored messages end.
        """
        log_start_offset = max(self.log_start_offset, install.log_start_offset)
        if step.replaces:
            self.acknowledged_end = self._log_end()
            self._cut(step.applied_index + 1)
            end_offset = max(self.end_offset(), log_start_offset)
            check_end(self.spec.group_id, end_offset, install.rows[0].base_offset)
        self.rows += install.rows
        self.installing = True
        self.log_start_offset = log_start_offset

    def finish_install(self, finish: FinishInstall, step: PlannedOperation) -> None:
        """Let the log begin above the snapshot; all but the messages below it goes.

        Raises:
            StorageError: the stored messages do not reach the snapshot's end.
        """
        log_start_offset = max(self.log_start_offset, finish.log_start_offset)
        if step.replaces:
            self._cut(step.applied_index + 1)
            end_offset = max(self.end_offset(), log_start_offset)
            check_end(self.spec.group_id, end_offset, finish.next_offset)
        self._delete(row.index for row in self.rows if row.kind is not EntryKind.DATA)
        self.checkpoint = finish.checkpoint
        self.first_index = finish.checkpoint.applied_index + 1
        self.previous_term = finish.checkpoint.applied_term
        self.log_start_offset = log_start_offset
        self.installing = False
        self.acknowledged_end = None
        if finish.hard_state is not None:
            self.hard_state = finish.hard_state

    def compact(self, compact: Compact) -> bool:
        """Carry out one step; return whether another one would find something to do.

        Raises:
            StorageError: the caller is wrong about the term before the log.
        """
        budget = Budget(max_rows=compact.max_rows, max_bytes=compact.max_bytes)
        reached = self.first_index
        if compact.first_index > self.first_index:
            log = self._facts(self.first_index, compact.first_index, compact.max_rows)
            reached = log_begins_at(self.first_index, log, budget)
        left = self._move_log(reached, compact)
        self.log_start_offset = max(self.log_start_offset, compact.log_start_offset)
        rows = self._facts(0, self.first_index, budget.rows + 1)
        last_index = messages_end_at(self.log_start_offset, rows, budget)
        self._delete(row.index for row in rows if row.index <= last_index)
        return left or any(
            is_dead(row, self.log_start_offset) for row in rows if row.index > last_index
        )

    def _move_log(self, reached: int, compact: Compact) -> bool:
        before = reached - 1
        if reached == self.first_index or before in self.damaged:
            return False
        term = self.term_at(before)
        assert term is not None
        check_previous_term(compact, reached, term)
        self._delete(
            row.index
            for row in self.rows
            if self.first_index <= row.index < reached and row.kind is not EntryKind.DATA
        )
        self.first_index, self.previous_term = reached, term
        return reached < compact.first_index

    def _log_end(self) -> tuple[int, int] | None:
        """Return the last index and term of the log; `None` when its last row is damaged."""
        last_index = self.last_index()
        if last_index < self.first_index:
            return self.first_index - 1, self.previous_term
        term = self.term_at(last_index)
        return None if term is None or last_index in self.damaged else (last_index, term)

    def _cut(self, index: int) -> None:
        """Delete the rows from an index on."""
        start = bisect_left(self.rows, index, key=lambda row: row.index)
        self._delete(row.index for row in self.rows[start:])

    def _delete(self, indexes: Iterable[int]) -> None:
        gone = set(indexes)
        if not gone:
            return
        self.rows = [row for row in self.rows if row.index not in gone]
        self.damaged -= gone
        self.lost -= gone

    # --- reading ----------------------------------------------------------------------------

    def header(self) -> GroupHeader:
        """Return what is stored beside the log."""
        install_offset = max(self.end_offset(), self.log_start_offset)
        return GroupHeader(
            spec=self.spec,
            hard_state=self.hard_state,
            first_index=self.first_index,
            previous_term=self.previous_term,
            checkpoint=self.checkpoint,
            faulty=self.faulty,
            log_start_offset=self.log_start_offset,
            installing=self.installing,
            install_offset=install_offset if self.installing else 0,
            acknowledged_end=self.acknowledged_end,
        )

    def end_offset(self) -> int:
        """Return the offset after the last message."""
        messages = [row for row in self._stored() if row.kind is EntryKind.DATA]
        return messages[-1].base_offset + messages[-1].record_count if messages else 0

    def last_index(self) -> int:
        """Return the highest stored index; 0 when nothing is stored."""
        return max((row.index for row in self._stored()), default=0)

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry; `None` when it is not stored."""
        found = self._between(index, index + 1)
        return found[0].term if found else None

    def entries(self, first_index: int, last_index: int) -> Iterator[Entry]:
        """Yield the stored entries of the inclusive range, in order.

        Raises:
            CorruptEntry: one is damaged.
        """
        return self._intact(self._between(first_index, last_index + 1))

    def log_entries(self, first_index: int, last_index: int) -> Iterator[Entry]:
        """Yield those of `entries` that belong to a log that is not installing."""
        if self.installing:
            return iter(())
        return self.entries(max(first_index, self.first_index), last_index)

    def data_entries(self, offset: int, high_watermark: int) -> Iterator[Entry]:
        """Yield the DATA entries from the last that begins at or below `offset`, in order."""
        if offset < self.log_start_offset:
            return iter(())
        found = [
            row
            for row in self._stored()
            if row.kind is EntryKind.DATA and row.base_offset < high_watermark
        ]
        at_or_below = bisect_right(found, offset, key=lambda row: row.base_offset)
        return self._intact(found[at_or_below - 1 :] if at_or_below else [])

    def bounded_entries(self, first_index: int) -> Iterator[tuple[Bounds, Entry]]:
        """Yield the entries from an index on, with where log and messages begin.

        Raises:
            CorruptEntry: one is damaged.
        """
        bounds = Bounds(self.first_index, self.log_start_offset, self.installing)
        found = [row for row in self._stored() if row.index >= first_index]
        return ((bounds, row) for row in self._intact(found))

    def scrub_checkpoint(self) -> None:
        """Verify the checkpoint.

        Raises:
            CorruptEntry: it is damaged.
        """
        if self.checkpoint is None:
            group_id = self.spec.group_id
            raise CorruptEntry(
                group_id, f"the checkpoint of group {group_id} is missing or damaged"
            )

    def _stored(self) -> list[Entry]:
        return [row for row in self.rows if row.index not in self.lost]

    def _between(self, first_index: int, end_index: int) -> list[Entry]:
        start = bisect_left(self.rows, first_index, key=lambda row: row.index)
        end = bisect_left(self.rows, end_index, key=lambda row: row.index)
        return [row for row in self.rows[start:end] if row.index not in self.lost]

    def _facts(self, first_index: int, end_index: int, max_rows: int) -> list[RowFacts]:
        return [
            RowFacts(row.index, row.kind, row.base_offset + row.record_count, row.size_bytes)
            for row in islice(self._between(first_index, end_index), max_rows)
        ]

    def _intact(self, found: Iterable[Entry]) -> Iterator[Entry]:
        group_id = self.spec.group_id
        for row in found:
            if row.index in self.damaged:
                raise CorruptEntry(
                    group_id, f"entry {row.index} of group {group_id} does not match its checksum"
                )
            yield row
