"""Storing which replicas are voters and learners of their Raft groups, as leaders report it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manager_app.models import Partition, Replica
from manager_app.placement.repair_rules import MemberRole
from manager_app.row_updates import rows_update

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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
    partitions = Partition.objects.filter(group_id__in=list(by_group)).only(
        "term", "leader_id", "membership_term", "strangers"
    )
    current = [
        partition
        for partition in partitions
        if (by_group[partition.group_id].term, by_group[partition.group_id].leader)
        == (partition.term, partition.leader_id)
    ]
    replicas = Replica.objects.filter(partition__in=[row.group_id for row in current]).only(
        "partition_id", "membership", "suspicion"
    )
    rows: dict[int, list[Replica]] = {row.group_id: [] for row in current}
    for replica in replicas:
        rows[replica.partition_id].append(replica)
    changed = [
        replica
        for partition in current
        for replica in rows[partition.group_id]
        if _take_replica(replica, by_group[partition.group_id])
    ]
    rows_update(changed, ["membership", "suspicion"])
    moved = [
        partition
        for partition in current
        if _take_partition(partition, by_group[partition.group_id], rows[partition.group_id])
    ]
    rows_update(moved, ["membership_term", "strangers"])
    return len({replica.partition_id for replica in changed} | {row.group_id for row in moved})


def _take_replica(replica: Replica, told: ToldMembership) -> bool:
    before = (replica.membership, replica.suspicion)
    replica.membership = told.of(replica.replica_id)
    if replica.replica_id in told.suspects and not replica.suspicion:
        replica.suspicion = (
            f"the leader on broker {told.leader} says that it lost what it had acknowledged"
        )
    return before != (replica.membership, replica.suspicion)


def _take_partition(
    partition: Partition, told: ToldMembership, replicas: Sequence[Replica]
) -> bool:
    before = (partition.membership_term, partition.strangers)
    known = {replica.replica_id for replica in replicas}
    partition.membership_term = told.term
    partition.strangers = len((told.voters | told.learners) - known)
    return before != (partition.membership_term, partition.strangers)
