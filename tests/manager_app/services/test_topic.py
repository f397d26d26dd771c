from __future__ import annotations

from collections import Counter

import pytest
from django.core.management.color import no_style
from django.db import connection

from http_base.cluster import DeletedPartition
from manager_app.models import (
    GROUP_ID_MAX,
    Broker,
    BrokerState,
    DeletedGroup,
    Partition,
    Replica,
    Topic,
)
from manager_app.services.cluster import cluster_ensure
from manager_app.services.topic import topic_create, topic_delete, topic_update
from myqueue.contract.errors import InvalidRequest, NotEnoughBrokers, Overloaded, TopicAlreadyExists

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def brokers():
    return [
        Broker.objects.create(
            incarnation=f"{number:032x}", address=f"http://h:{number}", state=BrokerState.ALIVE
        )
        for number in range(1, 5)
    ]


def create(name, partitions=3, factor=3):
    return topic_create(name=name, number_of_partitions=partitions, replication_factor=factor)


def test_topics_are_spread_over_the_brokers_together():
    for number in range(8):
        create(f"topic-{number}")
    replicas = Counter(Replica.objects.values_list("broker_id", flat=True))
    firsts = Counter(Replica.objects.filter(position=0).values_list("broker_id", flat=True))
    assert list(replicas.values()) == [18] * 4
    assert list(firsts.values()) == [6] * 4


def test_a_change_that_fails_leaves_nothing_behind():
    version = cluster_ensure().metadata_version
    with pytest.raises(NotEnoughBrokers):
        create("logs", factor=5)
    create("logs")
    with pytest.raises(TopicAlreadyExists):
        create("logs")
    Broker.objects.update(state=BrokerState.DEAD)
    with pytest.raises(NotEnoughBrokers):
        topic_update("logs", number_of_partitions=9, retention={"retention_ms": 7})
    assert Topic.objects.get().retention_ms is None
    assert Partition.objects.count() == 3
    assert cluster_ensure().metadata_version == version + 1


def test_a_broker_without_room_gets_no_replica_of_a_new_topic(brokers):
    full, other, *_ = brokers
    Broker.objects.filter(pk=full.pk).update(disk_free_bytes=1)
    create("logs")
    assert full.pk not in Replica.objects.values_list("broker_id", flat=True)
    Broker.objects.filter(pk=other.pk).update(disk_free_bytes=1)
    with pytest.raises(NotEnoughBrokers, match="there are 2, and 2 more whose disks are full"):
        create("more")
    with pytest.raises(NotEnoughBrokers, match="disks are full"):
        topic_update("logs", number_of_partitions=4, retention={})
    assert set(Replica.objects.values_list("broker_id", flat=True)) == {
        broker.pk for broker in brokers[1:]
    }
    Broker.objects.update(disk_free_bytes=1 << 40)
    create("more")


def test_when_the_group_ids_are_used_up_it_is_said_and_nothing_is_stored():
    topic = create("logs", partitions=1)
    last = Partition.objects.create(group_id=GROUP_ID_MAX, topic=topic, index=1)
    continue_sequence()
    try:
        with pytest.raises(Overloaded, match="no group ids"):
            create("more")
        assert Topic.objects.count() == 1
    finally:
        last.delete()
        continue_sequence()  # a sequence of PostgreSQL does not go back with the transaction


def continue_sequence():
    """Let the next group id follow the highest one that is stored."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [Partition]):
            cursor.execute(statement)


def test_growing_is_placed_after_what_is_there():
    create("logs", partitions=2)
    topic_update("logs", number_of_partitions=6, retention={})
    topic = Topic.objects.get()
    assert [row.index for row in topic.partitions.all()] == list(range(6))
    assert topic.partitions_at_creation == 2
    firsts = Counter(Replica.objects.filter(position=0).values_list("broker_id", flat=True))
    assert max(firsts.values()) == 2
    for wrong in (5, 0, -1, 1_025):
        with pytest.raises(InvalidRequest):
            topic_update("logs", number_of_partitions=wrong, retention={})


def test_a_deletion_names_what_to_drop_and_leaves_tombstones():
    topic = create("logs", partitions=2)
    groups = [row.group_id for row in topic.partitions.all()]
    drops = topic_delete("logs")
    named = {one for of_one in drops.values() for one in of_one}
    assert named == {
        DeletedPartition(group_id=group_id, topic="logs", partition=index)
        for index, group_id in enumerate(groups)
    }
    assert sum(len(of_one) for of_one in drops.values()) == 6
    assert [row.group_id for row in DeletedGroup.objects.all()] == groups
    assert Replica.objects.count() == Partition.objects.count() == 0
