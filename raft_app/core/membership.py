"""Which membership is in force: that of the last MEMBERSHIP entry in the log, or a snapshot's.

It holds from the moment it is in the log, committed or not, and is taken back when that entry is
overwritten (paper, section 6; thesis, section 4.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.types import EntryKind, Membership

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_app.core.types import Entry, InitialState


class MembershipHistory:
    """The memberships of a log, oldest first, from the last one that cannot be taken back.

    Attributes:
        current: the one in force.
        voters: replica ids of its voters.
    """

    __slots__ = ("_history", "current", "voters")

    def __init__(self, initial: InitialState) -> None:
        self._history = [(initial.membership_index, initial.membership)]
        self.current = initial.membership
        self.voters = self.current.voter_ids
        self.extend(initial.entries, commit_index=initial.applied_index)

    @property
    def index(self) -> int:
        """Index of the entry that set the current membership; 0 when there was none."""
        return self._history[-1][0]

    def extend(self, entries: Iterable[Entry], *, commit_index: int) -> bool:
        """Take over the MEMBERSHIP entries among new ones. Tells whether there was any.

        Args:
            entries: what was just added to the log.
            commit_index: memberships that one at or below it has replaced are forgotten.
        """
        added = [
            (entry.index, Membership.decode(entry.data))
            for entry in entries
            if entry.kind == EntryKind.MEMBERSHIP
        ]
        if not added:
            return False
        self._history.extend(added)
        while len(self._history) > 1 and self._history[1][0] <= commit_index:
            del self._history[0]
        self._set_current()
        return True

    def revert(self, index: int) -> bool:
        """The log is overwritten from `index` on. Tells whether the membership changed."""
        if self.index < index:
            return False
        while self.index >= index:
            assert len(self._history) > 1, "the oldest membership is committed"
            self._history.pop()
        self._set_current()
        return True

    def replace(self, membership: Membership, index: int) -> None:
        """A snapshot with this membership, set by the entry at `index`, takes the log's place."""
        self._history = [(index, membership)]
        self._set_current()

    def _set_current(self) -> None:
        self.current = self._history[-1][1]
        self.voters = self.current.voter_ids
