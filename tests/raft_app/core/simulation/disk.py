"""A simulated disk: transactions finish in order, and a crash loses what was not finished."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from raft_app.core.types import Entry, EntryKind, HardState, InitialState, Write

if TYPE_CHECKING:
    from raft_app.core.types import Membership
    from tests.raft_app.core.simulation.ledger import Ledger


@dataclass(frozen=True, slots=True)
class StoredState:
    """A checkpoint: the state machine after `ledger.applied_index`, never changed afterwards."""

    ledger: Ledger


class Disk:
    """What one replica has stored, and what it wants stored.

    Attributes:
        hard_state: the durable one.
        log: the durable entries, index 1 first.
        durable_write_id: the last write of the running process that is durable.
    """

    def __init__(self, replica_id: int, membership: Membership, ledger: Ledger) -> None:
        """Store what a bootstrapped replica starts from: the membership as entry 1."""
        self._replica_id = replica_id
        self._bootstrap = membership
        self._ledger = ledger
        self._queue: deque[Write | StoredState] = deque()
        self._in_transaction = 0
        self.hard_state = HardState(term=1, commit=1)
        self.log = [Entry(1, 1, EntryKind.MEMBERSHIP, membership.encode())]
        self.durable_write_id = 0

    def submit(self, item: Write | StoredState) -> None:
        """Queue something to be stored."""
        self._queue.append(item)

    def begin(self, limit: int) -> bool:
        """Start a transaction of at most `limit` items; False when nothing waits or one runs."""
        if self._in_transaction or not self._queue:
            return False
        self._in_transaction = min(limit, len(self._queue))
        return True

    def finish(self) -> None:
        """Finish the transaction that `begin` started: its items are durable."""
        for _ in range(self._in_transaction):
            self._store(self._queue.popleft())
        self._in_transaction = 0

    def crash(self, survivors: int) -> None:
        """The process dies; the first `survivors` unfinished items became durable nevertheless."""
        for _ in range(min(survivors, len(self._queue))):
            self._store(self._queue.popleft())
        self._queue.clear()
        self._in_transaction = 0
        self.durable_write_id = 0

    @property
    def unfinished(self) -> int:
        """Items that are not durable."""
        return len(self._queue)

    def holds(self, entry: Entry) -> bool:
        """Tell whether `entry` is durable at its index."""
        return entry.index <= len(self.log) and self.log[entry.index - 1].term == entry.term

    def read(self, first_index: int, last_index: int, max_bytes: int) -> tuple[Entry, ...]:
        """Return a prefix of the inclusive range, at least one entry unless it is not stored."""
        found: list[Entry] = []
        size = 0
        for entry in self.log[first_index - 1 : last_index]:
            size += entry.size_bytes
            if found and size > max_bytes:
                break
            found.append(entry)
        return tuple(found)

    def load(self) -> tuple[InitialState, Ledger]:
        """Return what a restarted process finds."""
        ledger = self._ledger.copy()
        applied = ledger.applied_index
        starts: list[tuple[int, int]] = []
        for entry in self.log:
            if not starts or starts[-1][1] != entry.term:
                starts.append((entry.index, entry.term))
        initial = InitialState(
            replica_id=self._replica_id,
            hard_state=self.hard_state,
            membership=self._bootstrap,
            membership_index=min(applied, 1),
            applied_index=applied,
            term_starts=tuple(starts),
            last_index=len(self.log),
            entries=tuple(self.log[applied:]),
        )
        return initial, ledger

    def _store(self, item: Write | StoredState) -> None:
        if isinstance(item, StoredState):
            assert item.ledger.applied_index <= len(self.log)
            self._ledger = item.ledger
            return
        assert item.write_id == self.durable_write_id + 1, "writes are stored in order"
        self.durable_write_id = item.write_id
        if item.hard_state is not None:
            self.hard_state = replace(item.hard_state)
        if item.entries:
            first_index = item.entries[0].index
            assert first_index <= len(self.log) + 1, "the stored log has no gaps"
            self.log[first_index - 1 :] = item.entries
