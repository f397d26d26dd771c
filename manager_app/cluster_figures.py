"""Figures of a manager for `GET /metrics`, beside those that `manager_app.metrics` counts.

What the database knows is asked with three queries, whatever the number of partitions; when it
does not answer, the rest is shown all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db.models import Count, F, Q
from prometheus_client.core import GaugeMetricFamily

from http_base.families import gauge_by, gauges
from manager_app.models import Broker, BrokerState, Partition, Replica, ReplicaState, Topic
from manager_app.placement.repair_rules import MemberRole
from manager_app.runtime import installed
from myqueue.contract.errors import QueueError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from prometheus_client.core import Metric

    from http_base.cluster import GroupStanding
    from manager_app.groups.standings import Overview
    from manager_app.runtime import ManagerRuntime

PREFIX = "queue_manager"
GROUPS_SHOWN_MAX = 500
"""Groups in topics with labels of their own: those that have most left; the rest is `other`."""
OTHER = "other"
_PRESENT = (BrokerState.ALIVE, BrokerState.STOPPING)


@dataclass(frozen=True)
class ClusterCounts:
    """What the database knows of the cluster."""

    topics: int
    partitions: int
    leaderless: int
    """Partitions whose leader is unknown, or on a broker that is away or silent."""
    under_replicated: int
    """Partitions with fewer sound replicas on brokers that are there than they should have."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """By state."""


def count_cluster(suspects: Collection[int]) -> ClusterCounts:
    """Count; blocks.

    Args:
        suspects: ids of silent brokers, which count as away.
    """
    silent = list(suspects)
    is_present = Q(leader__state__in=_PRESENT) & ~Q(leader__in=silent)
    partitions = Partition.objects.aggregate(all=Count("pk"), led=Count("pk", filter=is_present))
    sound = Replica.objects.filter(
        leaving=False,
        state=ReplicaState.RUNNING,
        suspicion="",
        membership=MemberRole.VOTER,
        broker__in=Broker.objects.filter(state__in=_PRESENT).exclude(pk__in=silent).order_by(),
    )
    factor = "partition__topic__replication_factor"
    whole = sound.order_by().values("partition", factor).annotate(rows=Count("pk"))
    states = Replica.objects.order_by().values_list("state").annotate(Count("pk"))
    return ClusterCounts(
        topics=Topic.objects.count(),
        partitions=partitions["all"],
        leaderless=partitions["all"] - partitions["led"],
        under_replicated=partitions["all"] - whole.filter(rows__gte=F(factor)).count(),
        replicas={**dict.fromkeys(ReplicaState.values, 0), **dict(states)},
    )


async def manager_families() -> list[Metric]:
    """Return the metrics of this process's manager; none while no manager runs in it."""
    runtime = installed()
    if runtime is None:
        return []
    families = [*_manager(runtime), *_groups(runtime.standings.latest)]
    try:
        counts = await runtime.database.run(count_cluster, runtime.suspects())
    except QueueError:
        return families  # among them that the database is away
    return [*families, *_cluster(counts)]


def _manager(runtime: ManagerRuntime) -> Iterator[Metric]:
    """Yield what this manager is, and when it heard of others."""
    metadata, lease, now_s = runtime.metadata, runtime.lease, runtime.monotonic_s()
    yield from gauges(
        PREFIX,
        ("primary", "1 while this manager may answer as the primary", lease.epoch is not None),
        (
            "lease_left_seconds",
            "Time for which it may, if it cannot renew its lease; 0 on others",
            lease.left_s,
        ),
        ("lease_epoch", "Epoch of the primary's lease", metadata.current.epoch),
        ("database_up", "1 while the database answers", not metadata.is_away),
        (
            "metadata_age_seconds",
            "Time since the metadata in memory was known to be those of the database",
            (metadata.age_ms or 0) / 1000,
        ),
        ("long_polls", "Long polls being passed on", runtime.waiting_calls),
    )
    heard = {
        str(broker.broker_id): now_s - seen_s
        for broker in metadata.current.brokers.values()
        if broker.state != BrokerState.REPLACED
        and (seen_s := runtime.broker_heartbeats.last_seen_s(broker.broker_id)) is not None
    }
    yield gauge_by(
        f"{PREFIX}_report_age_seconds",
        "Time since a broker was heard: by its reports, or those that the database has",
        "broker",
        heard,
    )


def _cluster(counts: ClusterCounts) -> Iterator[Metric]:
    """Yield what the database counted."""
    yield from gauges(
        PREFIX,
        ("topics", "Topics", counts.topics),
        ("partitions", "Partitions", counts.partitions),
        (
            "partitions_leaderless",
            "Partitions whose leader is unknown, or on a broker that is away or silent",
            counts.leaderless,
        ),
        (
            "partitions_under_replicated",
            "Partitions with fewer sound replicas on brokers that are there than they should have",
            counts.under_replicated,
        ),
    )
    yield gauge_by(f"{PREFIX}_replicas", "Replicas by state", "state", counts.replicas)


def _groups(overview: Overview) -> Iterator[Metric]:
    """Yield where groups are, as the brokers said last."""
    every = [one for topics in overview.by_group.values() for one in topics.values()]
    every.sort(key=lambda one: (-one.lag, one.group, one.topic))
    shown, rest = every[:GROUPS_SHOWN_MAX], every[GROUPS_SHOWN_MAX:]
    for name, text, value_of in (
        ("lag_messages", "Messages that a group has left", _lag),
        ("in_flight_messages", "Messages out with workers", _in_flight),
        ("dead_messages", "Dead messages that were not copied yet", _dead),
    ):
        family = GaugeMetricFamily(f"{PREFIX}_group_{name}", text, labels=["group", "topic"])
        for one in shown:
            family.add_metric([one.group, one.topic], value_of(one))
        if rest:
            family.add_metric([OTHER, OTHER], sum(map(value_of, rest)))
        yield family
    ages = GaugeMetricFamily(
        f"{PREFIX}_group_lag_seconds",
        "Age of the oldest message that a group has left; 0 when it has none",
        labels=["group", "topic"],
    )
    for one in shown:
        if one.age_ms is not None:
            ages.add_metric([one.group, one.topic], one.age_ms / 1000)
    known = [one.age_ms for one in rest if one.age_ms is not None]
    if known:
        ages.add_metric([OTHER, OTHER], max(known) / 1000)
    yield ages


def _lag(standing: GroupStanding) -> int:
    return standing.lag


def _in_flight(standing: GroupStanding) -> int:
    return standing.in_flight


def _dead(standing: GroupStanding) -> int:
    return standing.dead
