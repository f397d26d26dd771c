"""Checkers of the log: matching, completeness, commitment, application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.raft_app.core.simulation.checker import Checker

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.core.types import Entry


class LogMatching(Checker):
    """Two entries of one index and term are the same entry after the same predecessor.

    By induction the logs are then equal up to that index (paper, section 5.3).
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[Entry, int]] = {}

    def stored(self, replica_id: int, entry: Entry, previous_term: int) -> None:
        """A replica wrote `entry` into its log after one of `previous_term`."""
        found = self._known.setdefault((entry.index, entry.term), (entry, previous_term))
        self.require(
            found == (entry, previous_term),
            "replica %s stores %s after term %s, another one stored %s after term %s",
            replica_id,
            entry,
            previous_term,
            *found,
        )


class TruthfulAcknowledgements(Checker):
    """Who acknowledges an index to a leader holds that leader's entry there."""

    def acknowledged(
        self, replica_id: int, index: int, *, own_term: int | None, leader_term: int | None
    ) -> None:
        """A replica acknowledges `index` to the present leader of its term.

        Args:
            replica_id: who acknowledges.
            index: the acknowledged index.
            own_term: term of its own entry there; None when it has none.
            leader_term: term of the leader's entry there; None when it has none.
        """
        self.require(
            own_term is not None and own_term == leader_term,
            "replica %s acknowledges index %s, where it has term %s and the leader term %s",
            replica_id,
            index,
            own_term,
            leader_term,
        )


class CommitQuorum(Checker):
    """What is committed is on the disks of a quorum, and a leader commits by its own term.

    Counting replicas of an entry of an earlier term commits nothing (paper, figure 8).
    """

    def committed(self, entry: Entry, *, holders: int, quorum: int) -> None:
        """An entry became committed while `holders` disks had it."""
        self.require(
            holders >= quorum,
            "%s is committed on %s disks, not on the %s of a quorum",
            entry,
            holders,
            quorum,
        )

    def moved(self, replica_id: int, entry: Entry, leader_term: int) -> None:
        """A leader of `leader_term` moved the group's commit index to `entry`."""
        self.require(
            entry.term == leader_term,
            "leader %s of term %s commits up to %s by counting replicas",
            replica_id,
            leader_term,
            entry,
        )


class CommittedEntries(Checker):
    """Committed entries never change: every replica learns the same entry at each index."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def committed(self, replica_id: int, entry: Entry) -> bool:
        """A replica takes `entry` for committed; return True when it is the first to do so."""
        if entry.index > len(self.entries):
            self.require(
                entry.index == len(self.entries) + 1,
                "replica %s commits %s, but only %s entries before it are committed",
                replica_id,
                entry,
                len(self.entries),
            )
            self.entries.append(entry)
            return True
        known = self.entries[entry.index - 1]
        self.require(
            known == entry,
            "replica %s takes %s for committed, the group committed %s",
            replica_id,
            entry,
            known,
        )
        return False


class AppliedPrefixes(Checker):
    """Every replica applies the committed entries, in order, each once."""

    def __init__(self, committed: CommittedEntries) -> None:
        self._committed = committed
        self._applied: dict[int, int] = {}

    def started(self, replica_id: int, applied_index: int) -> None:
        """A replica starts with the state after `applied_index`."""
        self._applied[replica_id] = applied_index

    def applied(self, replica_id: int, entry: Entry) -> None:
        """A replica applies `entry`."""
        expected = self._applied[replica_id] + 1
        self.require(
            entry.index == expected,
            "replica %s applies index %s, expected %s",
            replica_id,
            entry.index,
            expected,
        )
        known = self._committed.entries
        self.require(
            entry.index <= len(known) and known[entry.index - 1] == entry,
            "replica %s applies %s, which the group did not commit",
            replica_id,
            entry,
        )
        self._applied[replica_id] = expected


class LeaderCompleteness(Checker):
    """A leader's log holds everything that leaders of earlier terms committed."""

    def __init__(self) -> None:
        self._last_of_term: dict[int, tuple[int, int]] = {}

    def committed(self, entry: Entry, leader_term: int) -> None:
        """`entry` was committed in `leader_term`; calls come in the order of indexes."""
        self._last_of_term[leader_term] = (entry.index, entry.term)

    def leads(self, replica_id: int, term: int, term_at: Callable[[int], int | None]) -> None:
        """A replica begins to lead `term`; `term_at` tells the term of each index of its log."""
        earlier = [last for at, last in self._last_of_term.items() if at < term]
        if not earlier:
            return
        index, entry_term = max(earlier)
        self.require(
            term_at(index) == entry_term,
            "replica %s leads term %s without the committed entry (index %s, term %s)",
            replica_id,
            term,
            index,
            entry_term,
        )
