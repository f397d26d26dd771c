"""Reads the state of partitions and replicas into the values that `repair_rules` decides on."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from django.db.models import Case, Count, F, OuterRef, Q, Subquery, When
from django.db.models.functions import Coalesce

from http_base.cluster import RemovedReplica, ReplicaPlace, ReplicaTarget
from manager_app.models import Broker, BrokerState, Partition, Replica, ReplicaState
from manager_app.placement import eligible_brokers
from manager_app.placement.repair_rules import Flaw, MemberRole, PartitionFacts, ReplicaFacts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from django.db.models import QuerySet

    from http_base.cluster import ReplicaReport


FEW_REPLICAS = 500
"""Replicas of a report that are looked up by their ids; of more all of the broker's are read."""
SUSPECT = "suspect"
"""Shown in place of the stored state of a broker that has been silent for
`QUEUE_SUSPECT_AFTER_S`. It is stored nowhere: each manager measures the silence itself, and no
decision follows from it."""


def shown_state(broker_id: int, state: str, *, suspects: Collection[int]) -> str:
    """Return the state of a broker as people see it.

    Args:
        broker_id: whose.
        state: as stored.
        suspects: ids of silent brokers, as `ManagerRuntime.suspects` returns them.
    """
    reporting = state in (BrokerState.ALIVE, BrokerState.STOPPING)
    return SUSPECT if reporting and broker_id in suspects else str(state)


class BrokerRow(Protocol):
    """What facts depend on of a broker: a model, or columns of it."""

    @property
    def broker_id(self) -> int:
        """Its id."""

    @property
    def state(self) -> str:
        """As stored."""

    @property
    def draining(self) -> bool:
        """Whether its replicas move to others."""


class ReplicaRow(Protocol):
    """What facts depend on of a replica: a model, or columns of it."""

    @property
    def replica_id(self) -> int:
        """Its id."""

    @property
    def state(self) -> str:
        """As stored."""

    @property
    def suspicion(self) -> str:
        """Why a leader says that it lost entries."""

    @property
    def membership(self) -> str:
        """As its leader reported."""

    @property
    def leaving(self) -> bool:
        """Whether it is no longer wanted."""

    @property
    def broker(self) -> BrokerRow:
        """Where it is."""


class ListedBroker(NamedTuple):
    """Columns of a broker."""

    broker_id: int
    state: str
    address: str
    draining: bool


class ListedReplica(NamedTuple):
    """Columns of a replica, as many as people are shown."""

    broker: ListedBroker
    replica_id: int
    state: str
    role: str
    log_start_offset: int
    high_watermark: int
    last_index: int
    fault: str
    suspicion: str
    membership: str
    leaving: bool

    @property
    def broker_id(self) -> int:
        """Where it is."""
        return self.broker.broker_id


@dataclass(frozen=True, slots=True)
class ListedPartition:
    """Columns of a partition and of its replicas, by position."""

    group_id: int
    index: int
    leader_id: int | None
    leader_state: str | None
    term: int
    membership_term: int
    placement_version: int
    strangers: int
    replication_factor: int
    replicas: list[ListedReplica]

    def facts(self, suspects: Collection[int] = ()) -> PartitionFacts:
        """Return the partition as the rules see it.

        Args:
            suspects: ids of silent brokers.
        """
        return PartitionFacts(
            group_id=self.group_id,
            version=self.placement_version,
            replication_factor=self.replication_factor,
            led=(self.leader_state == BrokerState.ALIVE and self.membership_term == self.term),
            replicas=tuple(replica_facts(row, suspects=suspects) for row in self.replicas),
            strangers=self.strangers,
        )


def replica_facts(
    replica: ReplicaRow, abandoned: Collection[int] = (), *, suspects: Collection[int] = ()
) -> ReplicaFacts:
    """Return a replica as the rules see it.

    Args:
        replica: with its broker loaded.
        abandoned: ids of brokers that have been dead for longer than the limit.
        suspects: ids of silent brokers; only `partition_condition` looks at it.
    """
    broker = replica.broker
    judged = _judged(
        replica.state,
        replica.membership,
        bool(replica.suspicion),
        broker_state=broker.state,
        is_draining=broker.draining,
        is_abandoned=broker.broker_id in abandoned,
    )
    return ReplicaFacts(
        replica_id=replica.replica_id,
        broker_id=broker.broker_id,
        flaw=judged.flaw,
        role=judged.role,
        leaving=replica.leaving,
        gone=judged.gone,
        reachable=judged.reachable,
        refillable=judged.refillable,
        suspect=broker.broker_id in suspects,
    )


def partition_facts(
    partition: Partition, abandoned: Collection[int] = (), *, suspects: Collection[int] = ()
) -> PartitionFacts:
    """Return a partition as the rules see it.

    Args:
        partition: with its topic, leader, replicas and their brokers loaded.
        abandoned: ids of brokers that have been dead for longer than the limit.
        suspects: ids of silent brokers; only `partition_condition` looks at it.
    """
    leader = partition.leader
    return PartitionFacts(
        group_id=partition.group_id,
        version=partition.placement_version,
        replication_factor=partition.topic.replication_factor,
        led=(
            leader is not None
            and leader.state == BrokerState.ALIVE
            and partition.membership_term == partition.term
        ),
        replicas=tuple(
            replica_facts(replica, abandoned, suspects=suspects)
            for replica in partition.replicas.all()
        ),
        strangers=partition.strangers,
    )


def partitions_to_heal(waiting: Collection[int] = ()) -> QuerySet[Partition]:
    """Return the partitions that need a repair, loaded for `partition_facts`.

    These have too few replicas, a member without a row, or a replica that is leaving, no voter yet,
    faulty, suspected, or on a broker that is dead, replaced or being drained. Those whose members
    differ from their target, which are `changing`, come first.

    Args:
        waiting: ids of dead brokers that may come back; nothing is done for what they hold.
    """
    # Each table is looked through once, however many partitions there are: asked for each partition
    # by itself this took a second for 100,000, every two seconds.
    lost = Broker.objects.filter(
        Q(draining=True) | Q(state__in=(BrokerState.DEAD, BrokerState.REPLACED))
    ).exclude(pk__in=list(waiting))
    changing = Replica.objects.filter(Q(leaving=True) | ~Q(membership=MemberRole.VOTER))
    flawed = Replica.objects.filter(
        Q(state__in=(ReplicaState.FAULTY, ReplicaState.MISSING))
        | ~Q(suspicion="")
        | Q(broker__in=lost.order_by().values("pk"))
    )
    wanted = Replica.objects.filter(leaving=False, partition=OuterRef("pk")).order_by()
    counted = wanted.values("partition").annotate(rows=Count("pk")).values("rows")
    is_changing = Q(strangers__gt=0) | Q(pk__in=changing.order_by().values("partition_id"))
    return (
        Partition.objects.alias(wanted_count=Coalesce(Subquery(counted), 0))
        .annotate(changing=Case(When(is_changing, then=True), default=False))
        .filter(
            Q(changing=True)
            | Q(pk__in=flawed.order_by().values("partition_id"))
            | Q(wanted_count__lt=F("topic__replication_factor"))
        )
        .select_related("topic", "leader")
        .prefetch_related("replicas__broker")
        .order_by("-changing", "group_id")
    )


def replica_target(partition: Partition, epoch: int) -> ReplicaTarget:
    """Return the order for a partition's leader: its replicas that are not leaving."""
    return ReplicaTarget(
        replicas=[
            ReplicaPlace(replica.replica_id, replica.broker_id)
            for replica in partition.replicas.all()
            if not replica.leaving
        ],
        epoch=epoch,
        version=partition.placement_version,
    )


def replicas_removed(broker: Broker, reported: Sequence[ReplicaReport]) -> list[RemovedReplica]:
    """Return those of the reported replicas that their broker should drop.

    They are leaving or have no row, and the leader reported members without them; the broker asks
    the leader itself before it drops one. A group without a row is left alone: it may belong to a
    database that was lost.
    """
    if not reported:
        return []
    rows = broker.replicas.filter(Q(leaving=False) | ~Q(membership=MemberRole.NONE))
    if len(reported) <= FEW_REPLICAS:
        rows = rows.filter(replica_id__in=[said.replica_id for said in reported])
    kept = set(rows.values_list("replica_id", flat=True))
    strange = [said for said in reported if said.replica_id not in kept]
    if not strange:
        return []
    leaders = _leaders_of(said.group_id for said in strange)
    return [
        RemovedReplica(
            group_id=said.group_id,
            replica_id=said.replica_id,
            leader_broker_id=leaders[said.group_id],
        )
        for said in strange
        if said.group_id in leaders and (leaders[said.group_id] or said.removed)
    ]


def replicas_without_refuge(broker: Broker) -> int:
    """Count the replicas of a broker that no other live broker can take."""
    others = set(
        eligible_brokers.brokers_for_replicas()
        .exclude(pk=broker.broker_id)
        .values_list("broker_id", flat=True)
    )
    taken: dict[int, set[int]] = defaultdict(set)
    held = broker.replicas.filter(leaving=False)
    rows = Replica.objects.filter(partition_id__in=held.order_by().values("partition_id"))
    for group_id, broker_id in rows.values_list("partition_id", "broker_id"):
        taken[group_id].add(broker_id)
    return sum(1 for brokers in taken.values() if not others - brokers)


def _leaders_of(group_ids: Iterable[int]) -> dict[int, int]:
    """Return the live leader (0: none) of each of these groups that exists."""
    rows = Partition.objects.filter(group_id__in=list(group_ids)).select_related("leader")
    return {
        row.group_id: (
            row.leader.broker_id
            if row.leader is not None and row.leader.state == BrokerState.ALIVE
            else 0
        )
        for row in rows
    }


class _Judged(NamedTuple):
    """What follows from the states of a replica and of its broker; see `ReplicaFacts`."""

    flaw: Flaw
    role: MemberRole
    gone: bool
    reachable: bool
    refillable: bool


@cache  # there are some hundred cases, and a manager asks of the same few again and again
def _judged(
    state: str,
    membership: str,
    is_suspected: bool,
    *,
    broker_state: str,
    is_draining: bool,
    is_abandoned: bool,
) -> _Judged:
    is_dead, is_alive = broker_state == BrokerState.DEAD, broker_state == BrokerState.ALIVE
    is_missing, is_replaced = state == ReplicaState.MISSING, broker_state == BrokerState.REPLACED
    if state == ReplicaState.FAULTY or is_missing or is_suspected or is_replaced:
        flaw = Flaw.LOST
    elif is_dead:
        flaw = Flaw.ABANDONED if is_draining or is_abandoned else Flaw.SILENT
    else:
        flaw = Flaw.DRAINING if is_draining else Flaw.NONE
    return _Judged(
        flaw=flaw,
        role=MemberRole(membership),
        gone=is_missing or is_replaced or (is_dead and is_draining),
        reachable=is_alive,
        refillable=is_alive and not is_draining,
    )
