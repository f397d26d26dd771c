"""A large cluster in the database, made at once: for what must not grow with it."""

from __future__ import annotations

from manager_app.models import Broker, BrokerState, Partition, Replica, ReplicaState, Topic
from manager_app.placement.repair_rules import MemberRole
from manager_app.services.cluster import cluster_ensure

BROKERS = 6
REPLICAS = 3
PER_TOPIC = 10
ROWS = 2_000


def make_cluster(topics: int) -> None:
    """Store topics of ten partitions of three replicas each, over six brokers that are alive."""
    cluster_ensure()
    brokers = [
        Broker.objects.create(
            incarnation=f"{number:032x}", address=f"http://h:{number}", state=BrokerState.ALIVE
        )
        for number in range(1, BROKERS + 1)
    ]
    names = [
        Topic(name=f"t{number}", partitions_at_creation=PER_TOPIC, replication_factor=REPLICAS)
        for number in range(topics)
    ]
    partitions = [
        Partition(
            topic=topic,
            index=index,
            leader=brokers[(number + index) % BROKERS],
            term=1,
            membership_term=1,
        )
        for number, topic in enumerate(Topic.objects.bulk_create(names, ROWS))
        for index in range(PER_TOPIC)
    ]
    Replica.objects.bulk_create(
        (
            Replica(
                partition=partition,
                broker=brokers[(number + position) % BROKERS],
                position=position,
                bootstrap=True,
                state=ReplicaState.RUNNING,
                membership=MemberRole.VOTER,
            )
            for number, partition in enumerate(Partition.objects.bulk_create(partitions, ROWS))
            for position in range(REPLICAS)
        ),
        ROWS,
    )
