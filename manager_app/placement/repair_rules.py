"""The next step that brings a partition back to its replicas: pure decisions of the manager.

Everything follows from what is stored and what was reported, so a manager may end between any two
steps and another one goes on. The target of a partition is the list of its replicas that are not
leaving; it changes when the leader has reported that the last target is in force, by one replica
at a time. A replica that left never comes back: what takes its place has a new id. One that has
not left yet may be kept after all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Flaw(IntEnum):
    """What is wrong with a replica; the worse, the higher."""

    NONE = 0
    DRAINING = 1
    """Its broker is to be emptied."""
    SILENT = 2
    """Its broker is dead and may come back."""
    ABANDONED = 3
    """Its broker has been dead for longer than the limit."""
    LOST = 4
    """It lost or doubts something that it once stored, or is not there any more."""


class MemberRole(StrEnum):
    """What a replica is in its group, as the leader reports it."""

    NONE = "none"
    LEARNER = "learner"
    VOTER = "voter"


class PartitionCondition(StrEnum):
    """How a partition is, in words for people."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """A replica is away, or is bad and no other broker can take its place."""
    CHANGING = "changing"
    """Its leader is on the way to the replicas that are wanted."""
    UNDER_REPLICATED = "under-replicated"
    NO_LEADER = "no leader"
    NO_HEALTHY_REPLICA = "no healthy replica"
    """Nothing of it is deleted; it comes back with the brokers that hold it."""


class ReplicaCondition(StrEnum):
    """What a replica is, in a word for people."""

    JOINING = "joining"
    LEARNER = "learner"
    VOTER = "voter"
    LEAVING = "leaving"
    FAULTY = "faulty"
    MISSING = "missing"


@dataclass(frozen=True)
class ReplicaFacts:
    """What is known of one replica."""

    replica_id: int
    broker_id: int
    flaw: Flaw = Flaw.NONE
    role: MemberRole = MemberRole.VOTER
    leaving: bool = False
    gone: bool = False
    """True when its broker holds it no longer."""
    reachable: bool = True
    """True when its broker takes orders."""
    refillable: bool = True
    """True when its broker takes new replicas."""
    suspect: bool = False
    """True when its broker is silent; not for long enough that anything is done about it."""

    @property
    def is_sound(self) -> bool:
        """Whether it has all that it acknowledged and answers."""
        return self.flaw <= Flaw.DRAINING


@dataclass(frozen=True)
class PartitionFacts:
    """What is known of one partition."""

    group_id: int
    version: int
    """Of the placement."""
    replication_factor: int
    led: bool
    """True when a live leader told the membership in the current term."""
    replicas: tuple[ReplicaFacts, ...]
    strangers: int = 0
    """Members that no stored replica stands for."""

    @property
    def wanted(self) -> tuple[ReplicaFacts, ...]:
        """The target."""
        return tuple(replica for replica in self.replicas if not replica.leaving)

    @property
    def is_settled(self) -> bool:
        """Whether the target is in force."""
        return not self.strangers and all(
            replica.role == (MemberRole.NONE if replica.leaving else MemberRole.VOTER)
            for replica in self.replicas
        )


@dataclass(frozen=True)
class Retarget:
    """Want other replicas: one fewer, one more, or one in place of another; one at least."""

    drop: int | None
    """Replica id."""
    add: int | None
    """Broker id of the new replica."""
    keep: int | None = None
    """Replica id of one that was to leave, and is a voter still."""


@dataclass(frozen=True)
class AskLeader:
    """Tell the leader the target; it goes on from wherever it is."""


@dataclass(frozen=True)
class Forget:
    """Take note that a replica which left is not on its broker any more."""

    replica_id: int


@dataclass(frozen=True)
class Discard:
    """Let a broker drop a replica that left; it makes sure that the group is without it."""

    replica_id: int
    broker_id: int


Step = Retarget | AskLeader | Forget | Discard


def next_steps(partition: PartitionFacts, loads: Mapping[int, int]) -> list[Step]:
    """Return what is to be done now; at most one `Retarget` or `AskLeader`.

    Nothing is done without a leader: whoever it is that has the messages, it is not known.

    Args:
        partition: what is known.
        loads: replicas of each broker that may be given more, by broker id.
    """
    if not partition.led:
        return []
    spare = _spare(partition, loads)
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
    """Return how a partition is."""
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
    """Return what a replica is to people."""
    if replica.leaving:
        return ReplicaCondition.LEAVING
    if replica.flaw == Flaw.LOST:
        return ReplicaCondition.MISSING if replica.gone else ReplicaCondition.FAULTY
    by_role = {
        MemberRole.VOTER: ReplicaCondition.VOTER,
        MemberRole.LEARNER: ReplicaCondition.LEARNER,
    }
    return by_role.get(replica.role, ReplicaCondition.JOINING)


def _spare(partition: PartitionFacts, loads: Mapping[int, int]) -> int | None:
    """Return the broker with the fewest replicas that has none of the partition."""
    taken = {replica.broker_id for replica in partition.replicas}
    free = [broker_id for broker_id in loads if broker_id not in taken]
    return min(free, key=lambda broker_id: (loads[broker_id], broker_id), default=None)


def _amend(partition: PartitionFacts, spare: int | None) -> Retarget | None:
    """Return another target in place of one that is not in force, because it went bad itself.

    A voter that was to leave stays instead when it is sound: with it fewer may be lost, and the
    change may be one that the group cannot commit without it.
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
    """Return the next change of a target that is in force."""
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
    """Tell whether a majority of the voters that stay is sound."""
    stay = [replica for replica in partition.wanted if replica is not leaver]
    sound = [replica for replica in stay if replica.is_sound and replica.role == MemberRole.VOTER]
    return 2 * len(sound) > len(stay)
