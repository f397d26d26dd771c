"""The manager's database of a shape, made at once; Django is set up before this is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from http_base.cluster import BrokerReport, ReplicaPlace, ReplicaReport
from manager_app.models import (
    Broker,
    BrokerState,
    Partition,
    Producer,
    Replica,
    ReplicaState,
    Topic,
)
from manager_app.placement.repair_rules import MemberRole
from manager_app.services.cluster import cluster_ensure

if TYPE_CHECKING:
    from benchmarks.scale.cluster_size import ClusterSize

ROWS = 2_000


def make_database(shape: ClusterSize) -> None:
    """Migrate an empty database, or empty one that was made here, and store the shape's rows."""
    call_command("migrate", database="default", verbosity=0)
    for model in (Producer, Replica, Partition, Topic, Broker):
        model._default_manager.all().delete()
    cluster_ensure()
    make_rows(shape)


def make_rows(shape: ClusterSize) -> None:
    """Store brokers, topics, partitions with leaders and replicas, and clients.

    The replicas of one partition are on brokers a step apart that changes with each round, so that
    all brokers share partitions with each other.
    """
    now = timezone.now()
    _make_brokers(shape)
    brokers = list(Broker.objects.order_by("pk"))
    topics = _make_topics(shape)
    of_topic = topics[0].partitions_at_creation
    Partition.objects.bulk_create(
        (
            Partition(
                topic=topics[number // of_topic],
                index=number % of_topic,
                leader=brokers[number % len(brokers)],
                term=1,
                membership_term=1,
            )
            for number in range(shape.partitions)
        ),
        ROWS,
    )
    Replica.objects.bulk_create(
        (
            Replica(
                partition=partition,
                broker=brokers[_place(number, position, shape)],
                position=position,
                bootstrap=True,
                state=ReplicaState.RUNNING,
                role="follower" if position else "leader",
                membership=MemberRole.VOTER,
                reported_at=now,
            )
            for number, partition in enumerate(Partition.objects.order_by("pk").iterator(ROWS))
            for position in range(shape.replication_factor)
        ),
        ROWS,
    )
    Producer.objects.bulk_create(
        (Producer(topic=topics[0], last_heartbeat=now) for _ in range(shape.clients)), ROWS
    )


def _make_brokers(shape: ClusterSize) -> None:
    Broker.objects.bulk_create(
        Broker(
            incarnation=f"{number:032x}",
            address=f"http://10.0.{number // 250}.{number % 250}:8001",
            raft_address=f"10.0.{number // 250}.{number % 250}:9001",
            state=BrokerState.ALIVE,
            last_heartbeat=timezone.now(),
        )
        for number in range(1, shape.brokers + 1)
    )


def _make_topics(shape: ClusterSize) -> list[Topic]:
    of_topic = min(shape.topic_partitions, shape.partitions)
    Topic.objects.bulk_create(
        Topic(
            name=f"topic-{number:05}",
            partitions_at_creation=of_topic,
            replication_factor=shape.replication_factor,
        )
        for number in range(-(-shape.partitions // of_topic))
    )
    return list(Topic.objects.order_by("pk"))


def _place(number: int, position: int, shape: ClusterSize) -> int:
    most = (shape.brokers - 1) // max(1, shape.replication_factor - 1)
    step = 1 + number // shape.brokers % max(1, most)
    return (number + position * step) % shape.brokers


def report_of(broker: Broker, offset: int) -> BrokerReport:
    """Return a full report of a broker, as it makes it of its replicas.

    Args:
        broker: whose.
        offset: where all its partitions are.
    """
    rows = list(broker.replicas.select_related("partition__topic"))
    places: dict[int, list[ReplicaPlace]] = {}
    siblings = Replica.objects.filter(partition__replicas__broker=broker)
    for group_id, replica_id, broker_id in siblings.values_list(
        "partition_id", "replica_id", "broker_id"
    ):
        places.setdefault(group_id, []).append(ReplicaPlace(replica_id, broker_id))
    return BrokerReport(
        incarnation=broker.incarnation or "",
        broker_id=broker.broker_id,
        cluster_id=cluster_ensure().cluster_id,
        address=broker.address,
        raft_address=broker.raft_address,
        epoch=1,
        replicas=[
            ReplicaReport(
                group_id=row.partition_id,
                replica_id=row.replica_id,
                topic=row.partition.topic.name,
                partition=row.partition.index,
                role="follower" if row.position else "leader",
                term=1,
                leader_broker_id=row.partition.leader_id or 0,
                serves=not row.position,
                log_start_offset=0,
                high_watermark=offset,
                commit_index=offset,
                applied_index=offset,
                last_index=offset,
                placement_version=1,
                replicas=places[row.partition_id],
                size_bytes=100 * offset,
            )
            for row in rows
        ],
    )


def file_bytes() -> float:
    """Return the size of the database."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
            return float(cursor.fetchone()[0])
        cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return float(cursor.fetchone()[0])
