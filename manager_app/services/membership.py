"""Storing which replicas are voters and learners of their Raft groups, as leaders report it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manager_app.models import Partition, Replica
from manager_app.placement.repair_rules import MemberRole
from manager_app.row_updates import rows_update

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class ToldMembership:
    """The members of one Raft group, as its leader reports them."""

    group_id: int
    leader: int
    """Broker id."""
    term: int
    voters: frozenset[int]
    """Replica ids."""
    learners: frozenset[int] = frozenset()
    suspects: frozenset[int] = frozenset()
    """Replica ids of those that seem to have lost entries that they had acknowledged."""

    def of(self, replica_id: int) -> MemberRole:
        """Return the role of a replica in the group."""
        if replica_id in self.voters:
            return MemberRole.VOTER
        return MemberRole.LEARNER if replica_id in self.learners else MemberRole.NONE


def memberships_take(told: Iterable[ToldMembership]) -> int:
    """Store the members that leaders report; to be called in a transaction.

    A report of another leader or term than the stored one is ignored.

    Returns:
        How many partitions have other members, or the same reported in another term.
    """
    by_group = {one.group_id: one for one in told}
    if not by_group:
        return 0
    partitions = Partition.objects.filter(group_id__in=list(by_group)).values_list(
        *("group_id", "leader_id", "term", "membership_term", "strangers")
    )
    current = {
        group_id: (membership_term, strangers)
        for group_id, leader_id, term, membership_term, strangers in partitions
        if (by_group[group_id].leader, by_group[group_id].term) == (leader_id, term)
    }
    rows = Replica.objects.filter(partition__in=list(current)).values_list(
        *("replica_id", "partition_id", "membership", "suspicion")
    )
    known: dict[int, set[int]] = {group_id: set() for group_id in current}
    changed = []
    for replica_id, group_id, *before in rows:
        told_of = by_group[group_id]
        known[group_id].add(replica_id)
        after = [told_of.of(replica_id), before[1] or _suspicion(replica_id, told_of)]
        if after != before:
            changed.append(
                Replica(
                    replica_id=replica_id,
                    partition_id=group_id,
                    membership=after[0],
                    suspicion=after[1],
                )
            )
    rows_update(changed, ["membership", "suspicion"])
    moved = []
    for group_id, stored in current.items():
        told_of = by_group[group_id]
        strangers = len((told_of.voters | told_of.learners) - known[group_id])
        if stored != (told_of.term, strangers):
            moved.append(
                Partition(group_id=group_id, membership_term=told_of.term, strangers=strangers)
            )
    rows_update(moved, ["membership_term", "strangers"])
    return len({replica.partition_id for replica in changed} | {row.group_id for row in moved})


def _suspicion(replica_id: int, told: ToldMembership) -> str:
    """Return why a replica is suspected; empty where its leader does not."""
    if replica_id not in told.suspects:
        return ""
    return f"the leader on broker {told.leader} says that it lost what it had acknowledged"
