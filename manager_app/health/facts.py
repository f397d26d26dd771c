"""What a manager sees of the cluster at one moment; the rules of `problems` judge by it alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from django.db.models import Count, F, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from manager_app.models import Broker, BrokerState, Partition, Replica, ReplicaState, Topic
from manager_app.placement.partition_facts import shown_state

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from django.db.models import Model

NAMED_MAX = 3
"""Partitions that are named; all are counted."""
DEAD_LETTER_END = ".dead"
"""How the names of topics end that dead messages are copied to, unless workers say otherwise."""


@dataclass(frozen=True, slots=True)
class Named:
    """Some partitions: how many there are, and the names of the first."""

    count: int
    names: tuple[str, ...]


NONE = Named(0, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """One broker."""

    broker_id: int
    address: str = ""
    state: str = BrokerState.ALIVE
    """As people see it: `suspect` while it is silent."""
    draining: bool = False
    rack: str = ""
    silent_s: float | None = None
    """Since its last report or answer; None: it was never heard by this manager."""
    disk_free_bytes: int = 0
    """0 while unknown."""
    disk_reserve_bytes: int = 0
    stored_bytes: int | None = None
    disk_full: bool = False
    disk_slow: bool = False
    ticks_late_share: float | None = None
    """Of the last look: late ticks of all; None when nobody knows."""
    sync_p50_s: float | None = None
    """So long half of the writes and syncs of its log took in the last minute."""
    sync_p99_s: float | None = None
    leaders: int = 0
    replicas: int = 0
    version: str = ""
    uptime_s: float | None = None
    connections: int = 0
    long_polls: int = 0
    answers: bool = False
    """True when it answered the last question."""
    problems: tuple[str, ...] = ()
    """What keeps it from being ready, as it says itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """Where a group is."""

    name: str
    is_workers: bool = False
    lag: int = 0
    lag_before: float | None = None
    """Five minutes ago; None when nobody knows."""
    age_s: float | None = None
    """Of its oldest message left."""
    dead: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """The whole cluster."""

    brokers: tuple[BrokerFacts, ...] = ()
    version: str = ""
    """Of the manager that looked."""
    topics: int = 0
    partitions: int = 0
    leaderless: Named = NONE
    under_replicated: Named = NONE
    lost: Named = NONE
    """Partitions with a replica that is faulty, missing, or lost what it had acknowledged."""
    groups: tuple[GroupFacts, ...] = ()
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    """Dead-letter topic -> messages in it."""
    primary_address: str = ""
    epoch: int = 0
    lease_age_s: float | None = None
    """Since this manager saw the primary change; None: it never did."""
    replace_after_s: float = 0.0
    """Silence of a broker after which its replicas move to others."""


class Stored(NamedTuple):
    """The part of the facts that the database knows."""

    brokers: tuple[BrokerFacts, ...]
    topics: int
    partitions: int
    leaderless: Named
    under_replicated: Named
    lost: Named
    dead_letters: Mapping[str, int]


def stored_facts(suspects: Collection[int] = ()) -> Stored:
    """Read what the database knows; a few statements, however many partitions there are.

    Args:
        suspects: ids of silent brokers.
    """
    rows = list(Broker.objects.exclude(state=BrokerState.REPLACED).order_by("broker_id"))
    out = {row.broker_id for row in rows if row.state == BrokerState.DEAD} | set(suspects)
    leaders, replicas = _counts(Partition, "leader"), _counts(Replica, "broker")
    bad = Q(state__in=(ReplicaState.FAULTY, ReplicaState.MISSING)) | ~Q(suspicion="")
    wanted = Replica.objects.filter(leaving=False)
    return Stored(
        brokers=tuple(
            BrokerFacts(
                broker_id=row.broker_id,
                address=row.address,
                state=shown_state(row.broker_id, row.state, suspects=suspects),
                draining=row.draining,
                rack=row.rack,
                disk_free_bytes=row.disk_free_bytes,
                disk_slow=row.disk_slow,
                leaders=leaders.get(row.broker_id, 0),
                replicas=replicas.get(row.broker_id, 0),
            )
            for row in rows
        ),
        topics=Topic.objects.count(),
        partitions=sum(leaders.values()),
        leaderless=_named(
            Partition.objects.filter(Q(leader=None) | Q(leader__in=out)).values_list(
                "topic__name", "index"
            )
        ),
        under_replicated=_under_replicated(out),
        lost=_named(
            wanted.filter(bad).values_list("partition__topic__name", "partition__index").distinct()
        ),
        dead_letters=_dead_letters(),
    )


def _counts(model: type[Model], field: str) -> dict[int | None, int]:
    """Return how many rows name which broker."""
    rows = model._default_manager.order_by().values_list(f"{field}_id").annotate(Count("pk"))
    return dict(rows)


def _under_replicated(out: Collection[int]) -> Named:
    """Return the partitions of which fewer replicas are on brokers that answer than are wanted."""
    there = Replica.objects.filter(leaving=False, partition=OuterRef("pk"))
    counted = (
        there.exclude(broker__in=list(out))
        .order_by()
        .values("partition")
        .annotate(rows=Count("pk"))
        .values("rows")
    )
    few = Partition.objects.alias(there=Coalesce(Subquery(counted), 0)).filter(
        there__lt=F("topic__replication_factor")
    )
    return _named(few.values_list("topic__name", "index"))


def _named(partitions: Iterable[tuple[str, int]]) -> Named:
    found = list(partitions)
    return Named(len(found), tuple(f"{topic}/{index}" for topic, index in found[:NAMED_MAX]))


def _dead_letters() -> dict[str, int]:
    rows = Replica.objects.filter(
        partition__topic__name__endswith=DEAD_LETTER_END, broker=F("partition__leader")
    ).values_list("partition__topic__name", "log_start_offset", "high_watermark")
    found: Counter[str] = Counter()
    for topic, start, end in rows:
        found[topic] += max(0, end - start)
    return {topic: count for topic, count in found.items() if count}


def stored_ends() -> dict[int, int]:
    """Return the next offset of each partition by its group id, as brokers reported it last."""
    rows = Replica.objects.order_by().values_list("partition_id")
    return dict(rows.annotate(end=Max("high_watermark")))
