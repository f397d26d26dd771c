"""A simulated disk: transactions finish in order, and a crash loses what was not finished."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from raft_app.core.bootstrap import bootstrap_entry
from raft_app.core.types import HardState, InitialState, Membership, Write
from tests.raft_app.core.simulation.ledger import Ledger
from tests.raft_app.core.simulation.stored_log import StoredLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.core.types import Entry, SnapshotMeta


@dataclass(frozen=True, slots=True)
class StoredState:
    """A checkpoint: the state machine after `ledger.applied_index`, never changed afterwards."""

    ledger: Ledger


@dataclass(frozen=True, slots=True)
class Compaction:
    """Drops the log below `first_index`, which the stored checkpoint covers."""

    first_index: int


@dataclass(frozen=True, slots=True)
class InstalledRows:
    """Puts rows of a snapshot in place; the first ones drop the log above the checkpoint."""

    rows: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class FinishedInstall:
    """Ends an installation: the checkpoint and the rows in place become the snapshot's state."""

    meta: SnapshotMeta
    next_offset: int


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of what was durable, which may be put back once."""

    hard_state: HardState
    log: StoredLog
    ledger: Ledger


Item = Write | StoredState | Compaction | InstalledRows | FinishedInstall


class Disk:
    """What one replica has stored, and what it wants stored.

    Attributes:
        hard_state: the durable one.
        log: the durable entries.
        durable_write_id: the last write of the running process that is durable.
        installing: rows of a snapshot are in place, the rest is not.
        rows: these rows.
    """

    def __init__(
        self, replica_id: int, membership: Membership | None, *, keeps_log_end: bool
    ) -> None:
        """Store what a bootstrapped replica starts from, or nothing for one that joins.

        Args:
            replica_id: whose disk it is.
            membership: the first list; None for a replica that joins later.
            keeps_log_end: whether it is remembered where the log ended before an installation.
        """
        self._replica_id = replica_id
        self._keeps_log_end = keeps_log_end
        self._queue: deque[tuple[Item, Callable[[], None] | None]] = deque()
        self._in_transaction = 0
        self._log_end: tuple[int, int] | None = None
        self._replaced = StoredLog()
        self._rolled_back = StoredLog()
        self.installing = False
        self.rows: list[Entry] = []
        self.durable_write_id = 0
        self.log = StoredLog()
        self.hard_state = HardState()
        self._ledger = Ledger(membership or Membership())
        if membership is not None:
            self.log.write([bootstrap_entry(membership)])
            self.hard_state = HardState(term=1, commit=1)

    def submit(self, item: Item, done: Callable[[], None] | None = None) -> None:
        """Queue something to be stored; `done` is to be called when it is durable."""
        self._queue.append((item, done))

    def begin(self, limit: int) -> bool:
        """Start a transaction of at most `limit` items; False when nothing waits or one runs."""
        if self._in_transaction or not self._queue:
            return False
        self._in_transaction = min(limit, len(self._queue))
        return True

    def finish(self) -> list[Callable[[], None]]:
        """Finish the transaction that `begin` started; return whom to tell, in order."""
        finished = [self._queue.popleft() for _ in range(self._in_transaction)]
        self._in_transaction = 0
        for item, _ in finished:
            self._store(item)
        return [done for _, done in finished if done is not None]

    def crash(self, survivors: int) -> None:
        """The process dies; the first `survivors` unfinished items became durable nevertheless."""
        for _ in range(min(survivors, len(self._queue))):
            self._store(self._queue.popleft()[0])
        self._queue.clear()
        self._in_transaction = 0
        self.durable_write_id = 0

    @property
    def unfinished(self) -> int:
        """Items that are not durable."""
        return len(self._queue)

    @property
    def install_offset(self) -> int:
        """The offset after the messages that the checkpoint and the rows in place hold."""
        if not self.rows:
            return self._ledger.next_offset
        return self.rows[-1].base_offset + self.rows[-1].record_count

    def holds(self, entry: Entry) -> bool:
        """Tell whether `entry` is durable at its index, as a part of the log or of the state."""
        if entry.index <= self._ledger.applied_index:
            return True
        if self._rolled_back.term_at(entry.index) == entry.term:
            return True  # It was, and whoever counts on it cannot know better.
        return not self.installing and self.log.term_at(entry.index) == entry.term

    def copy(self) -> Copy:
        """Return a copy of what is durable; not in the middle of an installation."""
        assert not self.installing
        return Copy(self.hard_state, self.log.copy(), self._ledger.copy())

    def put_back(self, copy: Copy) -> None:
        """Have a copy in place of what is durable. No process runs."""
        self._rolled_back = self.log
        self.hard_state, self.log, self._ledger = copy.hard_state, copy.log, copy.ledger

    def held(self, entry: Entry) -> bool:
        """Tell whether `entry` is durable, or was before an installation began."""
        return self.holds(entry) or (
            self.installing and self._replaced.term_at(entry.index) == entry.term
        )

    @property
    def replaced_end(self) -> tuple[int, int] | None:
        """(last term, last index) of the log that is being replaced; None when there is none."""
        if not self.installing:
            return None
        log = self._replaced
        last_term = log.term_at(log.last_index)
        assert last_term is not None
        return last_term, log.last_index

    def read(self, first_index: int, last_index: int, max_bytes: int) -> tuple[Entry, ...]:
        """Return a prefix of the inclusive range, at least one entry unless it is not stored."""
        found: list[Entry] = []
        size = 0
        for entry in self.log.entries(first_index, last_index):
            size += entry.size_bytes
            if found and size > max_bytes:
                break
            found.append(entry)
        return tuple(found)

    def load(self) -> tuple[InitialState, Ledger]:
        """Return what a restarted process finds."""
        ledger = self._ledger.copy()
        applied = ledger.applied_index
        last_index = self.log.last_index
        initial = InitialState(
            replica_id=self._replica_id,
            hard_state=self.hard_state,
            membership=ledger.membership,
            membership_index=ledger.membership_index,
            applied_index=applied,
            first_index=self.log.first_index,
            previous_term=self.log.previous_term,
            term_starts=self.log.term_starts(),
            last_index=last_index,
            entries=tuple(self.log.entries(applied + 1, last_index)),
            installing=self.installing,
            acknowledged_end=self._log_end if self._keeps_log_end else None,
        )
        return initial, ledger

    def _store(self, item: Item) -> None:
        match item:
            case Write():
                self._store_write(item)
            case StoredState(ledger):
                assert self._ledger.applied_index <= ledger.applied_index <= self.log.last_index
                assert not self.installing
                self._ledger = ledger
            case Compaction(first_index):
                assert first_index <= self._ledger.applied_index + 1
                self.log.compact(first_index)
            case InstalledRows(rows):
                self._install(rows)
            case FinishedInstall(meta, next_offset):
                rows = [row for row in self.rows if row.index <= meta.last_index]
                self._ledger = self._ledger.installed(meta, rows)
                assert self._ledger.next_offset == next_offset, "a part of the snapshot is missing"
                self.log.reset(meta.last_index, meta.last_term)
                self.installing = False
                self._log_end = None
                self.rows = []

    def _store_write(self, write: Write) -> None:
        assert write.write_id == self.durable_write_id + 1, "writes are stored in order"
        self.durable_write_id = write.write_id
        if write.hard_state is not None:
            self.hard_state = replace(write.hard_state)
        if write.entries:
            assert not self.installing, "no entries while a snapshot is put in place"
            self.log.write(write.entries)

    def _install(self, rows: tuple[Entry, ...]) -> None:
        if not self.installing:
            last_term = self.log.term_at(self.log.last_index)
            assert last_term is not None
            self._log_end = (self.log.last_index, last_term)
            self._replaced = self.log.copy()
            self.log.cut(self._ledger.applied_index)
            self.installing = True
        assert rows[0].base_offset == self.install_offset, "rows have no gaps"
        self.rows += rows
