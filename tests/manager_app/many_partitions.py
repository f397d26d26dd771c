"""A large cluster in the database, made at once: for what must not grow with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manager_app import selectors
from manager_app.inputs import BrokersQuery, ClientsQuery, GroupsQuery, TopicsQuery
from manager_app.models import Broker, BrokerState, Partition, Replica, ReplicaState, Topic
from manager_app.placement.balance_round import plan_balance
from manager_app.placement.partition_facts import partitions_to_heal
from manager_app.placement.repair_rules import MemberRole
from manager_app.services.cluster import cluster_ensure

if TYPE_CHECKING:
    from collections.abc import Callable

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


READS: dict[str, tuple[Callable[[], object], int]] = {
    "names of topics": (lambda: selectors.topic_names(TopicsQuery()), 1),
    "topics": (lambda: selectors.topics_with_counts(TopicsQuery()), 1),
    "addresses of brokers": (lambda: selectors.broker_addresses(BrokersQuery()), 1),
    "brokers": (lambda: selectors.brokers_with_counts(BrokersQuery(), {1}), 1),
    "producers": (lambda: selectors.clients_list("producer", ClientsQuery()), 1),
    "producers of a topic": (
        lambda: selectors.clients_list("producer", ClientsQuery(topic="t0")),
        2,
    ),
    "groups": (lambda: selectors.groups_with_counts(GroupsQuery(topic="t0")), 1),
    "a topic": (lambda: selectors.topic_partitions(selectors.topic_get("t0")), 2),
    "a partition": (lambda: selectors.partition_get("t0", 3), 4),
    "loads of brokers": (selectors.broker_loads, 2),
    "leaders and who may lead": (selectors.led_partitions, 2),
    "what is to be repaired": (lambda: partitions_to_heal().count(), 1),
    "plan of moves": (plan_balance, 5),
}
"""What a manager reads again and again, and in how many queries, however large the cluster."""
