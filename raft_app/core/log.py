"""The Raft log as the core sees it: recent entries, the terms of all, what is durable.

Bodies of older entries are with the storage; the core keeps the terms of the whole stored log (as
the first index of each term) and the bodies from `recent_first` on. The order of the indexes is

    first_index - 1 <= applied <= given <= min(commit, durable)
    recent_first <= applied + 1,  commit <= last_index,  durable < next_write <= last_index + 1

so everything that is not applied is in memory, and everything applied is durable here.

While a snapshot is put in place of the stored log, the log is frozen: it says nothing, takes
nothing and hands out nothing, until `reset` begins a new one after the snapshot.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft_app.core.types import ENTRY_OVERHEAD_BYTES, NO_REPLICA, bytes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_app.core.types import Entry, HardState, InitialState


@dataclass(slots=True)
class WritePromise:
    """What will be durable when one outstanding write is."""

    write_id: int
    last_index: int
    """The log up to here, as it is now in memory; 0 when the write holds no entries.

    Lowered when entries that the write holds are overwritten before it is done."""
    hard_state: HardState | None


class RaftLog:
    """The log of one node. Knows indexes, terms and durability; decides nothing.

    Attributes:
        first_index: lowest index of the stored log.
        previous_term: term of the entry before it.
        recent_first: lowest index whose entry is in memory.
        last_index: highest index, durable or not; `first_index - 1` when the log is empty.
        last_term: its term.
        commit_index: highest index known to be committed.
        applied_index: highest index that the caller reported as applied.
        given_index: highest index that was handed out to be applied.
        durable_index: the log up to here, as it is now in memory, is durable on this node.
        durable_term: the term of the last durable hard state.
        durable_vote: its vote.
        next_write: lowest index that was not put into a write.
        last_write_id: number of the last write issued; 0 before the first.
        uncommitted_bytes: size of the entries above `commit_index`.
        pending_bytes: size of the entries above `applied_index`, all of which are in memory.
        recent_bytes: size of the applied entries that are in memory.
        is_frozen: a snapshot is being put in place of what is stored.
    """

    def __init__(self, initial: InitialState, *, max_recent_bytes: int) -> None:
        assert initial.first_index - 1 <= initial.applied_index <= initial.last_index
        assert len(initial.entries) == initial.last_index - initial.applied_index
        self.first_index = initial.first_index
        self.previous_term = initial.previous_term
        self._start_indexes = [index for index, _ in initial.term_starts]
        self._start_terms = [term for _, term in initial.term_starts]
        self._entries = list(initial.entries)
        self._max_recent_bytes = max_recent_bytes
        self.recent_bytes = 0
        self.pending_bytes = bytes_of(self._entries)
        self.recent_first = initial.applied_index + 1
        self.last_index = initial.last_index
        self.last_term = self._start_terms[-1] if self._start_terms else initial.previous_term
        self.applied_index = self.given_index = initial.applied_index
        hint = min(initial.hard_state.commit, initial.last_index)
        self.commit_index = max(initial.applied_index, hint)
        self.durable_index = initial.last_index
        self.durable_term = initial.hard_state.term
        self.durable_vote = initial.hard_state.vote
        self.uncommitted_bytes = bytes_of(self._above(self.commit_index))
        self.next_write = initial.last_index + 1
        self.last_write_id = 0
        self._promises: deque[WritePromise] = deque()
        self.is_frozen = initial.installing
        self._acknowledged_end = initial.acknowledged_end

    # --- terms --------------------------------------------------------------------------------

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`, None when the log does not know it."""
        if index > self.last_index:
            return None
        starts = self._start_indexes
        if starts and index >= starts[-1]:
            return self.last_term
        if index < self.first_index:
            return self.previous_term if index == self.first_index - 1 else None
        return self._start_terms[bisect_right(starts, index) - 1]

    def last_possible_match(self, index: int, term: int) -> tuple[int, int]:
        """Return the highest index at or below `index` whose term is at most `term`, and its term.

        Terms never fall along a log, so two logs cannot agree above what each of them answers to
        the other's answer; that skips a whole term per round trip (paper, end of section 5.3).

        Returns:
            The position before `first_index` when no stored entry will do; (index, 0) below that.
        """
        index = min(index, self.last_index)
        known = self.term_at(index)
        if known is None:
            return index, 0
        if known <= term:
            return index, known
        run = bisect_right(self._start_terms, term)
        if run == 0:
            return self.first_index - 1, self.previous_term
        return self._start_indexes[run] - 1, self._start_terms[run - 1]

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Tell whether a log that ends there is at least as good as this one (section 5.4.1).

        In place of a frozen log stands what it was before; if that is not known, none is as good.
        """
        if not self.is_frozen:
            return (last_term, last_index) >= (self.last_term, self.last_index)
        if self._acknowledged_end is None:
            return False
        end_index, end_term = self._acknowledged_end
        return (last_term, last_index) >= (end_term, end_index)

    # --- growing and overwriting --------------------------------------------------------------

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries right after `last_index`."""
        size_bytes = 0
        for entry in entries:
            assert entry.index == self.last_index + 1, "entries are contiguous"
            size_bytes += len(entry.data) + ENTRY_OVERHEAD_BYTES
            if entry.term != self.last_term:
                assert entry.term > self.last_term, "terms never fall along a log"
                self._start_indexes.append(entry.index)
                self._start_terms.append(entry.term)
                self.last_term = entry.term
            elif not self._start_indexes:
                # The term goes on from before `first_index`; it needs a start all the same.
                self._start_indexes.append(entry.index)
                self._start_terms.append(entry.term)
            self._entries.append(entry)
            self.last_index = entry.index
        self.uncommitted_bytes += size_bytes
        self.pending_bytes += size_bytes

    def truncate(self, index: int) -> None:
        """Drop the entries from `index` on, which others will replace.

        The durable index and every outstanding promise fall below it: a write of the old entry
        must never vouch for the new one.
        """
        assert self.commit_index < index <= self.last_index, "committed entries never change"
        dropped = bytes_of(self._entries[index - self.recent_first :])
        self.uncommitted_bytes -= dropped
        self.pending_bytes -= dropped
        del self._entries[index - self.recent_first :]
        while self._start_indexes and self._start_indexes[-1] >= index:
            self._start_indexes.pop()
            self._start_terms.pop()
        self.last_term = self._start_terms[-1] if self._start_terms else self.previous_term
        self.last_index = index - 1
        self.durable_index = min(self.durable_index, index - 1)
        self.next_write = min(self.next_write, index)
        for promise in self._promises:
            promise.last_index = min(promise.last_index, index - 1)

    def not_in_log(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return the tail of `entries` from the first one that this log lacks or contradicts."""
        if not entries or entries[0].index > self.last_index:
            return entries
        for position, entry in enumerate(entries):
            if self.term_at(entry.index) != entry.term:
                return entries[position:]
        return ()

    # --- compaction and snapshots -------------------------------------------------------------

    def compact(self, first_index: int, previous_term: int) -> None:
        """The stored log begins at `first_index` now; going back is ignored.

        Args:
            first_index: at most one above `applied_index`.
            previous_term: term of the entry before it.
        """
        if first_index <= self.first_index:
            return
        assert first_index <= self.applied_index + 1, "only what is applied may go"
        assert self.term_at(first_index - 1) == previous_term, "not a term of this log"
        self.recent_bytes -= bytes_of(self._entries[: max(first_index - self.recent_first, 0)])
        del self._entries[: max(first_index - self.recent_first, 0)]
        self.recent_first = max(self.recent_first, first_index)
        starts, terms = self._start_indexes, self._start_terms
        passed = bisect_right(starts, first_index)
        if passed and first_index <= self.last_index:
            starts[passed - 1] = first_index
            passed -= 1
        del starts[:passed], terms[:passed]
        self.first_index = first_index
        self.previous_term = previous_term

    def freeze(self) -> None:
        """A snapshot begins to replace what is stored; nothing of the log can be relied on."""
        if not self.is_frozen:
            self.is_frozen = True
            self._acknowledged_end = (self.last_index, self.last_term)

    def thaw(self) -> None:
        """Nothing was replaced after all: the log is what it was."""
        self.is_frozen = False

    def makes_up_for_frozen(self, last_index: int, last_term: int, leader_term: int) -> bool:
        """Tell whether a leader's snapshot covers all that this node acknowledged and may count.

        It does when it reaches the end of the frozen log. It also does when its last entry is of
        its leader's own term and this log's is not: what was committed in earlier terms lies
        before that entry, and in that term nothing was acknowledged here.
        """
        if self._acknowledged_end is None:
            return last_term == leader_term
        end_index, end_term = self._acknowledged_end
        return last_index >= end_index or end_term < last_term == leader_term

    def reset(self, last_index: int, last_term: int) -> None:
        """A snapshot up to `last_index` has taken the place of the whole log, durably.

        Earlier writes still to be reported promise nothing about what follows.
        """
        assert last_index > self.applied_index, "what is applied is never taken back"
        self.first_index = self.recent_first = self.next_write = last_index + 1
        self.previous_term = self.last_term = last_term
        self.last_index = self.commit_index = self.durable_index = last_index
        self.applied_index = self.given_index = last_index
        self._start_indexes.clear()
        self._start_terms.clear()
        self._entries.clear()
        self.recent_bytes = self.uncommitted_bytes = self.pending_bytes = 0
        for promise in self._promises:
            promise.last_index = 0
        self.is_frozen = False

    # --- reading ------------------------------------------------------------------------------

    def recent_entries(self, first_index: int, max_bytes: int) -> tuple[tuple[Entry, ...], int]:
        """Return entries from `first_index` on up to `max_bytes`, at least one, and their size.

        Args:
            first_index: within `recent_first` and `last_index`.
            max_bytes: limit of the sum of their sizes.
        """
        assert self.recent_first <= first_index <= self.last_index
        start = first_index - self.recent_first
        entries = self._entries
        total = len(entries[start].data) + ENTRY_OVERHEAD_BYTES
        end = start + 1
        while end < len(entries):
            size_bytes = len(entries[end].data) + ENTRY_OVERHEAD_BYTES
            if total + size_bytes > max_bytes:
                break
            total += size_bytes
            end += 1
        return tuple(entries[start:end]), total

    def _above(self, index: int) -> list[Entry]:
        return self._entries[index + 1 - self.recent_first :]

    # --- writing ------------------------------------------------------------------------------

    @property
    def has_unwritten(self) -> bool:
        """Entries wait to be put into a write."""
        return self.next_write <= self.last_index and not self.is_frozen

    @property
    def written_index(self) -> int:
        """The log up to here was put into writes."""
        return self.next_write - 1

    def issue_write(self, hard_state: HardState | None) -> tuple[int, tuple[Entry, ...]]:
        """Number a new write that holds `hard_state` and all unwritten entries."""
        entries: tuple[Entry, ...] = ()
        promised = 0
        if self.has_unwritten:
            entries = tuple(self._entries[self.next_write - self.recent_first :])
            promised = self.last_index
            self.next_write = promised + 1
        self.last_write_id += 1
        self._promises.append(WritePromise(self.last_write_id, promised, hard_state))
        return self.last_write_id, entries

    def persisted(self, write_id: int) -> None:
        """Every write up to `write_id` is durable."""
        assert write_id <= self.last_write_id, "no such write was issued"
        while self._promises and self._promises[0].write_id <= write_id:
            promise = self._promises.popleft()
            self.durable_index = max(self.durable_index, promise.last_index)
            if promise.hard_state is not None:
                self.durable_term = promise.hard_state.term
                self.durable_vote = promise.hard_state.vote

    def has_durable_vote(self, term: int, vote: int) -> bool:
        """Tell whether the vote for `vote` in `term` is durable."""
        assert vote != NO_REPLICA
        return self.durable_term == term and self.durable_vote == vote

    # --- committing and applying --------------------------------------------------------------

    def commit_to(self, index: int) -> bool:
        """Raise the commit index; a lower one is ignored. Tells whether it moved."""
        if index <= self.commit_index:
            return False
        assert index <= self.last_index, "only what is in the log can be committed"
        first = self.commit_index + 1 - self.recent_first
        self.uncommitted_bytes -= bytes_of(self._entries[first : index + 1 - self.recent_first])
        self.commit_index = index
        return True

    def take_committed(self) -> tuple[Entry, ...]:
        """Return the next entries to apply; each is returned once."""
        last = min(self.commit_index, self.durable_index)
        if self.given_index >= last or self.is_frozen:
            return ()
        first = self.given_index + 1 - self.recent_first
        self.given_index = last
        return tuple(self._entries[first : last + 1 - self.recent_first])

    def applied_to(self, index: int) -> None:
        """The entries up to `index` are applied; the oldest of them may leave memory."""
        assert self.applied_index <= index <= self.given_index
        first = self.applied_index + 1 - self.recent_first
        size_bytes = bytes_of(self._entries[first : index + 1 - self.recent_first])
        self.pending_bytes -= size_bytes
        self.recent_bytes += size_bytes
        self.applied_index = index
        if self.recent_bytes > self._max_recent_bytes:
            self._evict()

    def keep_recent(self, max_bytes: int) -> None:
        """Keep so much of what is applied from now on."""
        self._max_recent_bytes = max_bytes
        self._evict()

    def _evict(self) -> None:
        """Forget the oldest applied entries until the rest fits `max_recent_bytes`."""
        count = 0
        while self.recent_bytes > self._max_recent_bytes:
            self.recent_bytes -= self._entries[count].size_bytes
            count += 1
        del self._entries[:count]
        self.recent_first += count
