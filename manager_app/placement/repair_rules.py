"""The next step that brings a partition back to full replication: pure decisions of the manager.

Everything follows from the database and the reports of leaders, so a manager may end between any
two steps and another one goes on. The target of a partition is the list of its replicas that are
not leaving; it changes when the leader has reported that the last target is in force, by one
replica at a time, as Raft changes members. A replica that left the group never comes back: its
successor has a new id. One that has not left yet may be kept after all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, NamedTuple

from manager_app.placement.rules import crowding

if TYPE_CHECKING:
    from collections.abc import Mapping


class Flaw(IntEnum):
    """Why a replica should be replaced; the higher, the sooner."""

    NONE = 0
    DRAINING = 1
    """Its broker is being drained."""
    SILENT = 2
    """Its broker is dead and may come back."""
    ABANDONED = 3
    """Its broker has been dead for longer than the limit."""
    LOST = 4
    """It lost entries that it once stored, cannot vouch for them, or its broker has it no
    longer."""


class MemberRole(StrEnum):
    """What a replica is in its group, as the leader reports it."""

    NONE = "none"
    LEARNER = "learner"
    VOTER = "voter"


class PartitionCondition(StrEnum):
    """The health of a partition, in words for people."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """A replica is on a silent broker, or has to be replaced and no other broker can take it."""
    CHANGING = "changing"
    """Its leader is changing the members of the group to the target."""
    UNDER_REPLICATED = "under-replicated"
    NO_LEADER = "no leader"
    NO_HEALTHY_REPLICA = "no healthy replica"
    """All its replicas are on dead brokers or faulty. Nothing is deleted; it comes back with
    them."""


class ReplicaCondition(StrEnum):
    """How far a replica is between joining its group and leaving it, in a word for people."""

    JOINING = "joining"
    LEARNER = "learner"
    VOTER = "voter"
    LEAVING = "leaving"
    FAULTY = "faulty"
    MISSING = "missing"


_CONDITIONS = {
    MemberRole.NONE: ReplicaCondition.JOINING,
    MemberRole.LEARNER: ReplicaCondition.LEARNER,
    MemberRole.VOTER: ReplicaCondition.VOTER,
}


class ReplicaFacts(NamedTuple):
    """One replica, as far as the decisions depend on it."""

    replica_id: int
    broker_id: int
    flaw: Flaw = Flaw.NONE
    role: MemberRole = MemberRole.VOTER
    leaving: bool = False
    gone: bool = False
    """True when its broker has it no longer."""
    reachable: bool = True
    """True when its broker takes orders."""
    refillable: bool = True
    """True when its broker takes new replicas."""
    suspect: bool = False
    """True when its broker is silent, but not long enough to be dead; for people alone."""

    @property
    def is_sound(self) -> bool:
        """Whether it has all entries that it acknowledged, and its broker is alive."""
        return self.flaw <= Flaw.DRAINING


@dataclass(frozen=True)
class PartitionFacts:
    """One partition, as far as the decisions depend on it."""

    group_id: int
    version: int
    """Of the placement."""
    replication_factor: int
    led: bool
    """True when a live leader reported the members in the current term."""
    replicas: tuple[ReplicaFacts, ...]
    strangers: int = 0
    """Voters and learners that have no row in the database."""

    @property
    def wanted(self) -> tuple[ReplicaFacts, ...]:
        """The target: the replicas that are not leaving."""
        return tuple(replica for replica in self.replicas if not replica.leaving)

    @property
    def is_settled(self) -> bool:
        """Whether the target is in force: its replicas are the voters, and there is no learner."""
        return not self.strangers and all(
            replica.role == (MemberRole.NONE if replica.leaving else MemberRole.VOTER)
            for replica in self.replicas
        )


@dataclass(frozen=True)
class Retarget:
    """Change the target: one replica fewer, one more, or one in place of another."""

    drop: int | None
    """Replica id."""
    add: int | None
    """Broker id of the new replica."""
    keep: int | None = None
    """Replica id of one that is leaving and still a voter: it stays."""


@dataclass(frozen=True)
class AskLeader:
    """Order the target of the leader, which goes on from wherever its change of members is."""


@dataclass(frozen=True)
class Forget:
    """Delete the row of a replica that left its group and that its broker has dropped."""

    replica_id: int


@dataclass(frozen=True)
class Discard:
    """Let a broker drop a replica that left its group; it asks the leader before it does."""

    replica_id: int
    broker_id: int


Step = Retarget | AskLeader | Forget | Discard


def next_steps(
    partition: PartitionFacts, loads: Mapping[int, int], racks: Mapping[int, str] | None = None
) -> list[Step]:
    """Return the next steps of a partition; at most one of them is a `Retarget` or `AskLeader`.

    Without a leader there are none: which replicas have all committed messages is not known then.

    Args:
        partition: its replicas with their flaws and roles.
        loads: number of replicas of each broker that may be given more, by broker id.
        racks: of brokers that say so, by broker id.
    """
    if not partition.led:
        return []
    spare = _spare(partition, loads, racks or {})
    left = [
        replica
        for replica in partition.replicas
        if replica.leaving and replica.role == MemberRole.NONE
    ]
    forgotten = [Forget(replica.replica_id) for replica in left if replica.gone]
    discarded = [
        Discard(replica.replica_id, replica.broker_id)
        for replica in left
        if replica.reachable and not replica.gone
    ]
    change: Step | None
    if partition.is_settled:
        change = _replace(partition, spare)
    else:
        change = _amend(partition, spare) or AskLeader()
    return [*forgotten, *discarded, *([change] if change else [])]


def partition_condition(partition: PartitionFacts) -> PartitionCondition:
    """Return the health of a partition, for people."""
    if not any(replica.is_sound for replica in partition.replicas):
        return PartitionCondition.NO_HEALTHY_REPLICA
    if not partition.led:
        return PartitionCondition.NO_LEADER
    if not partition.is_settled:
        return PartitionCondition.CHANGING
    if len(partition.wanted) < partition.replication_factor:
        return PartitionCondition.UNDER_REPLICATED
    if any(not replica.is_sound or replica.suspect for replica in partition.wanted):
        return PartitionCondition.DEGRADED
    return PartitionCondition.HEALTHY


def replica_condition(replica: ReplicaFacts) -> ReplicaCondition:
    """Return how far a replica is, for people."""
    if replica.leaving:
        return ReplicaCondition.LEAVING
    if replica.flaw == Flaw.LOST:
        return ReplicaCondition.MISSING if replica.gone else ReplicaCondition.FAULTY
    return _CONDITIONS[replica.role]


def _spare(
    partition: PartitionFacts, loads: Mapping[int, int], racks: Mapping[int, str]
) -> int | None:
    """Return the best broker that has none of the partition.

    In a rack that has the fewest of the replicas that stay, that is the one with the fewest
    replicas.
    """
    taken = {replica.broker_id for replica in partition.replicas}
    stay = [one for one in partition.wanted if one.flaw in (Flaw.NONE, Flaw.SILENT)]
    crowd = Counter(racks.get(replica.broker_id, "") for replica in stay)
    return min(
        (broker_id for broker_id in loads if broker_id not in taken),
        key=lambda one: (crowding(racks.get(one, ""), crowd), loads[one], one),
        default=None,
    )


def _amend(partition: PartitionFacts, spare: int | None) -> Retarget | None:
    """Return another target while the present one is not in force and a replica of it went bad.

    A sound voter that is leaving is kept in its place: without it fewer losses are survived, and
    the group may have no quorum to commit the change.
    """
    leavers = (
        replica.replica_id
        for replica in partition.replicas
        if replica.leaving and replica.role == MemberRole.VOTER and replica.is_sound
    )
    keep = next(leavers, None)
    for replica in _by_flaw(partition):
        if replica.role == MemberRole.VOTER:
            if not replica.is_sound and keep is not None:
                return Retarget(replica.replica_id, None, keep=keep)
        elif spare is not None:
            return Retarget(replica.replica_id, spare)
        elif keep is not None or _others_suffice(partition, replica):
            return Retarget(replica.replica_id, None, keep=keep)
    return None


def _replace(partition: PartitionFacts, spare: int | None) -> Retarget | None:
    """Return the next change of a target that is in force, or None when it needs none."""
    for replica in _by_flaw(partition):
        if spare is not None:
            return Retarget(replica.replica_id, spare)
        if (
            replica.flaw == Flaw.LOST
            and replica.refillable
            and len(partition.wanted) >= partition.replication_factor
            and _others_suffice(partition, replica)
        ):
            return Retarget(replica.replica_id, None)
    if len(partition.wanted) < partition.replication_factor and spare is not None:
        return Retarget(None, spare)
    return None


def _by_flaw(partition: PartitionFacts) -> list[ReplicaFacts]:
    """Return the wanted replicas that are to be replaced, the worst first."""
    flawed = [
        replica for replica in partition.wanted if replica.flaw not in (Flaw.NONE, Flaw.SILENT)
    ]
    return sorted(flawed, key=lambda replica: (-replica.flaw, replica.replica_id))


def _others_suffice(partition: PartitionFacts, leaver: ReplicaFacts) -> bool:
    """Tell whether the replicas that stay have a quorum of sound voters."""
    stay = [replica for replica in partition.wanted if replica is not leaver]
    sound = [replica for replica in stay if replica.is_sound and replica.role == MemberRole.VOTER]
    return 2 * len(sound) > len(stay)
