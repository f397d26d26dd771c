"""Moves replicas to brokers that hold fewer, a few at a time and no faster than is allowed.

Nothing about a move is stored but its partition's new target, as for a repair: the leader adds the
new replica, which copies, then removes the old one. A manager may end anywhere; the next one sees
what is on the move, and plans the rest anew. Repairs go first: while a partition needs one, no move
begins.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count, F

from manager_app.metrics import MOVES_LEFT
from manager_app.models import BrokerState, Partition, RebalanceState, Replica, ReplicaState
from manager_app.placement import eligible_brokers
from manager_app.placement.balance_rules import (
    Balance,
    HeldPartition,
    HeldReplica,
    Move,
    is_level,
    plan_moves,
)
from manager_app.placement.partition_facts import partitions_to_heal
from manager_app.placement.repair_rules import MemberRole, Retarget
from manager_app.services.cluster import cluster_ensure
from manager_app.services.replica import moves_note, replicas_retarget

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from manager_app.runtime import ManagerRuntime

MOVES_AT_ONCE = 16
"""Partitions on the move at once. Each copies over the network and to disks that serve clients
meanwhile; most of the time of a small one passes between two rounds."""


@dataclass(frozen=True, slots=True)
class RunningMove:
    """A partition one of whose replicas is being moved for balance."""

    group_id: int
    version: int
    topic: str
    partition: int
    source: int
    leaving_id: int
    """Replica id of the one that leaves."""
    target: int | None
    arriving_id: int | None
    """Replica id of the one that comes; None when it is gone again."""
    has_arrived: bool
    """True when the new replica is a voter, so that the move cannot be taken back."""
    size_bytes: int
    copied_bytes: int


@dataclass(frozen=True, slots=True)
class BalanceState:
    """What is moved, and what has to be."""

    repairs: int
    """Partitions that need a repair; moves wait for these."""
    running: list[RunningMove]
    plan: list[Move]


def begin_moves(runtime: ManagerRuntime) -> int:
    """Give partitions that are next in the plan another target; return how many.

    The leaders are asked by the round of repairs, which sees a target that is not in force.
    """
    cluster = cluster_ensure()
    now_s = runtime.monotonic_s()
    if cluster.rebalance != RebalanceState.ON or not runtime.move_pace.allows(now_s):
        return 0
    if runtime.balanced_version == cluster.metadata_version:
        return 0
    balance = _balance()
    if not is_level(balance) and _repairs().exists():
        return 0
    free = MOVES_AT_ONCE - len(running_moves())
    if free <= 0:
        return 0
    plan = _plan(balance)
    MOVES_LEFT.set(len(plan))
    if not plan:
        runtime.balanced_version = cluster.metadata_version
    begun: list[tuple[int, Retarget]] = []
    for move in plan[:free]:
        if not runtime.move_pace.allows(now_s):
            break
        change = Retarget(move.replica_id, move.target)
        if replicas_retarget(move.group_id, change, version=move.version):
            begun.append((move.group_id, change))
            rate = cluster.rebalance_bytes_per_second
            runtime.move_pace.count(move.size_bytes, now_s=now_s, bytes_per_second=rate)
    moves_note("balance", begun)
    if begun:
        runtime.metadata.refresh()
    return len(begun)


def take_moves_back() -> int:
    """Give partitions whose new replica is not a voter yet their old target; return how many."""
    return sum(
        replicas_retarget(
            one.group_id,
            Retarget(one.arriving_id, None, keep=one.leaving_id),
            version=one.version,
        )
        for one in running_moves()
        if not one.has_arrived
    )


def look_at_balance(plan: list[Move] | None = None) -> BalanceState:
    """Return what is moved now, and what would be moved after it, where that is not known yet."""
    return BalanceState(
        _repairs().count(), running_moves(), plan_balance() if plan is None else plan
    )


def running_moves() -> list[RunningMove]:
    """Return what is being moved for balance, by group id."""
    leaving = {replica.partition_id: replica for replica in _leaving().order_by("partition_id")}
    wanted: dict[int, list[Replica]] = defaultdict(list)
    for replica in Replica.objects.filter(
        partition_id__in=list(leaving), leaving=False, bootstrap=False
    ).order_by("replica_id"):
        wanted[replica.partition_id].append(replica)
    moves = []
    for group_id, old in leaving.items():
        new = wanted[group_id][-1] if wanted[group_id] else None
        size_bytes = old.size_bytes
        moves.append(
            RunningMove(
                group_id=group_id,
                version=old.partition.placement_version,
                topic=old.partition.topic.name,
                partition=old.partition.index,
                source=old.broker_id,
                leaving_id=old.replica_id,
                target=new.broker_id if new else None,
                arriving_id=new.replica_id if new else None,
                has_arrived=new is None or new.membership == MemberRole.VOTER,
                size_bytes=size_bytes,
                copied_bytes=min(new.size_bytes, size_bytes) if new else 0,
            )
        )
    return moves


def plan_balance() -> list[Move]:
    """Return the moves that would be made, those on their way left out."""
    return _plan(_balance())


def _plan(balance: Balance) -> list[Move]:
    if is_level(balance):
        return []
    replicas: dict[int, list[HeldReplica]] = defaultdict(list)
    sizes: Counter[int] = Counter()
    unsettled = set()
    for (
        group_id,
        replica_id,
        broker_id,
        size_bytes,
        leaving,
        membership,
    ) in Replica.objects.order_by("partition_id", "position").values_list(
        *("partition_id", "replica_id", "broker_id", "size_bytes", "leaving", "membership")
    ):
        if leaving or membership != MemberRole.VOTER:
            unsettled.add(group_id)
        if not leaving:
            replicas[group_id].append(HeldReplica(replica_id, broker_id))
            sizes[group_id] = max(sizes[group_id], size_bytes)
    rows = Partition.objects.filter(
        leader__state=BrokerState.ALIVE, membership_term=F("term"), strangers=0
    )
    partitions = [
        HeldPartition(group_id, version, leader, sizes[group_id], tuple(replicas[group_id]))
        for group_id, version, leader in rows.order_by("group_id").values_list(
            "group_id", "placement_version", "leader_id"
        )
        if group_id not in unsettled and leader is not None
    ]
    return plan_moves(partitions, balance)


def _balance() -> Balance:
    """Return the brokers between which replicas move, with how many each is to hold."""
    racks = dict(eligible_brokers.brokers_that_stay().values_list("broker_id", "rack"))
    targets = eligible_brokers.brokers_for_replicas().values_list("broker_id", flat=True)
    wanted = Replica.objects.filter(leaving=False).order_by()
    held = dict(wanted.values_list("broker_id").annotate(Count("pk")))
    return Balance(racks.keys(), set(targets), racks, held)


def _leaving() -> QuerySet[Replica]:
    """Return the replicas that leave for balance alone, and are voters still."""
    return Replica.objects.filter(
        leaving=True,
        membership=MemberRole.VOTER,
        state=ReplicaState.RUNNING,
        suspicion="",
        broker__state=BrokerState.ALIVE,
        broker__draining=False,
    ).select_related("partition__topic")


def _repairs() -> QuerySet[Partition]:
    """Return the partitions that need a repair, without those that are merely on the move."""
    moved = Replica.objects.filter(
        leaving=True, suspicion="", broker__state=BrokerState.ALIVE, broker__draining=False
    )
    return partitions_to_heal().exclude(pk__in=moved.order_by().values("partition_id"))
