"""Checkers of changing groups: quorums across memberships, removed replicas, snapshots."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from raft_app.core.types import EntryKind, Membership
from tests.raft_app.core.simulation.checker import Checker

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from raft_app.core.types import Entry, SnapshotMeta


def may_be_disjoint(one: Collection[int], other: Collection[int]) -> bool:
    """Tell whether the two sets have majorities without a common element."""
    common = len(set(one) & set(other))
    needed = sum(max(0, len(voters) // 2 + 1 - (len(voters) - common)) for voters in (one, other))
    return needed <= common


class OneChangeAtATime(Checker):
    """A leader changes one replica, after an entry of its term and the change before are committed.

    And placements never go back (thesis, section 4.1, and its correction).
    """

    def changed(
        self,
        entry: Entry,
        *,
        before: Membership,
        before_index: int,
        committed: Sequence[Entry],
    ) -> None:
        """A leader appended the MEMBERSHIP `entry`.

        Args:
            entry: what it appended.
            before: the membership in force before.
            before_index: index of the entry that set that.
            committed: all that is known to be committed, index 1 first.
        """
        after = Membership.decode(entry.data)
        self.require(
            any(known.term == entry.term for known in reversed(committed)),
            "%s changes the membership before anything of its term is committed",
            entry,
        )
        self.require(
            before_index <= len(committed),
            "%s changes the membership while the change of index %s is not committed",
            entry,
            before_index,
        )
        came_or_went = set(before.members) ^ set(after.members)
        voters = before.voter_ids ^ after.voter_ids
        self.require(
            len(came_or_went) <= 1 and len(voters) <= 1, "%s changes %s to more", entry, before
        )
        self.require(
            before.version <= after.version, "%s goes back from version %s", entry, before.version
        )


class CommittedMemberships(Checker):
    """Who leads or commits does so with a quorum that overlaps with those of the group.

    The membership in force on a leader is the last one that was committed before its term, or one
    step away from it; and who was removed in an earlier term leads no more.

    Attributes:
        latest: the last committed membership.
        members: replica ids of all that were ever committed.
        changes: how many changes were committed.
    """

    def __init__(self) -> None:
        self._committed: list[tuple[int, Membership]] = []
        self._votes: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        self.latest = Membership()
        self.members: set[int] = set()
        self.changes = 0

    def committed(self, entry: Entry, leader_term: int) -> None:
        """`entry` was committed in `leader_term`; calls come in the order of indexes."""
        if entry.kind == EntryKind.MEMBERSHIP:
            self.latest = Membership.decode(entry.data)
            self._committed.append((leader_term, self.latest))
            self.members |= {member.replica_id for member in self.latest.members}
            self.changes += entry.index > 1

    def granted(self, voter: int, candidate: int, term: int) -> None:
        """A vote for `candidate` leaves `voter`."""
        self._votes[candidate, term].add(voter)

    def leads(self, replica_id: int, term: int, membership: Membership) -> None:
        """A replica begins to lead `term`, with `membership` in force on it."""
        voters = membership.voter_ids
        votes = self._votes[replica_id, term] | {replica_id}
        self.require(
            replica_id in voters and 2 * len(votes & voters) > len(voters),
            "replica %s leads term %s by the votes of %s among %s",
            replica_id,
            term,
            sorted(votes),
            sorted(voters),
        )
        self._overlaps(replica_id, term, membership)
        earlier = [known for at, known in self._committed if at < term]
        was_member = any(_names(known, replica_id) for known in earlier)
        self.require(
            not was_member or _names(earlier[-1], replica_id),
            "replica %s leads term %s although it was removed",
            replica_id,
            term,
        )

    def commits(self, replica_id: int, term: int, membership: Membership) -> None:
        """The leader of `term` commits, with `membership` in force on it."""
        self._overlaps(replica_id, term, membership)

    def _overlaps(self, replica_id: int, term: int, membership: Membership) -> None:
        earlier = [known for at, known in self._committed if at < term]
        if earlier:
            in_term = [known for at, known in self._committed if at == term]
            before = (in_term or earlier)[-1]
            self.require(
                not may_be_disjoint(membership.voter_ids, before.voter_ids),
                "replica %s of term %s has quorums of %s that miss quorums of %s",
                replica_id,
                term,
                sorted(membership.voter_ids),
                sorted(before.voter_ids),
            )


def _names(membership: Membership, replica_id: int) -> bool:
    return any(member.replica_id == replica_id for member in membership.members)


class MembershipInForce(Checker):
    """The membership in force is that of the last MEMBERSHIP entry in the log, else the state's."""

    def is_in_force(
        self,
        replica_id: int,
        found: tuple[int, Membership],
        expected: tuple[int, Membership],
    ) -> None:
        """A replica has the (index, membership) `found` in force, its log says `expected`."""
        self.require(
            found == expected, "replica %s has %s in force, not %s", replica_id, found, expected
        )


class Installations(Checker):
    """A snapshot is what the group committed, and takes nothing back; till then, no promises."""

    def __init__(self) -> None:
        self._allowed: set[tuple[int, int, int]] = set()

    def installs(
        self,
        replica_id: int,
        meta: SnapshotMeta,
        *,
        applied_index: int,
        held: Sequence[Entry],
        committed: Sequence[Entry],
    ) -> None:
        """A replica makes a snapshot its whole state.

        Args:
            replica_id: whose.
            meta: what the snapshot covers.
            applied_index: what the replica has applied.
            held: the committed entries above the snapshot that its disk holds.
            committed: all that is known to be committed, index 1 first.
        """
        self.require(
            meta.last_index > applied_index,
            "replica %s goes back from index %s to %s",
            replica_id,
            applied_index,
            meta,
        )
        self.require(not held, "replica %s forgets %s for %s", replica_id, held[-1:], meta)
        self.require(
            meta.last_index <= len(committed)
            and committed[meta.last_index - 1].term == meta.last_term,
            "replica %s takes %s, which the group did not commit",
            replica_id,
            meta,
        )
        changes = [
            entry for entry in committed[: meta.last_index] if entry.kind == EntryKind.MEMBERSHIP
        ]
        last = changes[-1]
        self.require(
            (meta.membership_index, meta.membership) == (last.index, Membership.decode(last.data)),
            "replica %s takes %s, but the membership is %s",
            replica_id,
            meta,
            last,
        )

    def acknowledges(self, replica_id: int, index: int, *, is_installing: bool) -> None:
        """A node acknowledges entries."""
        self.require(
            not is_installing,
            "replica %s acknowledges index %s while a snapshot replaces its log",
            replica_id,
            index,
        )

    def asked(
        self,
        key: tuple[int, int, int],
        *,
        end: tuple[int, int],
        replaced_end: tuple[int, int] | None,
    ) -> None:
        """A candidate asks for a vote.

        Args:
            key: voter, candidate, and term of the election.
            end: (term, index) of the end of the candidate's log.
            replaced_end: where the voter's log ended, likewise, before a snapshot began to replace
                it; None when its log is whole.
        """
        if replaced_end is None or end >= replaced_end:
            self._allowed.add(key)

    def votes(self, key: tuple[int, int, int]) -> None:
        """A vote leaves, perhaps long after it was decided."""
        self.require(
            key in self._allowed,
            "replica %s votes for replica %s in term %s by what is left of its log",
            *key,
        )
