from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from manager_app.console.topic_figures import partition_figures, topics_listed
from manager_app.models import Broker, ConsumerGroup, Partition, Replica, Topic
from tests.manager_app.many_partitions import make_cluster

pytestmark = pytest.mark.django_db


def listed(*, after="", named="", limit=10):
    return topics_listed(after=after, named=named, limit=limit)


def make_topics(*names, partitions=2):
    """Make topics on the brokers of a small cluster, led by the first."""
    if not Broker.objects.exists():
        make_cluster(1)
    brokers = [*Broker.objects.values_list("broker_id", flat=True)[:2]]
    Topic.objects.all().delete()
    for name in names:
        topic = Topic.objects.create(
            name=name, partitions_at_creation=partitions, replication_factor=2
        )
        for index in range(partitions):
            partition = Partition.objects.create(topic=topic, index=index, leader_id=brokers[0])
            for position, broker_id in enumerate(brokers):
                Replica.objects.create(
                    partition=partition,
                    broker_id=broker_id,
                    position=position,
                    bootstrap=True,
                    log_start_offset=10,
                    high_watermark=40 + 50 * position,
                    size_bytes=1_000 + position,
                )


def test_topics_are_in_pages_by_name_and_found_by_a_part_of_it():
    make_topics("b", "a.orders", "c", "Orders")
    page = listed(limit=3)
    assert [one.topic.name for one in page.rows] == ["Orders", "a.orders", "b"]
    rest = listed(after=page.next, limit=3)
    assert [one.topic.name for one in rest.rows] == ["c"]
    assert rest.next is None
    assert [one.topic.name for one in listed(named="ORDER").rows] == ["Orders", "a.orders"]
    assert listed(named="%").rows == []


def test_what_is_in_a_topic_is_what_its_leaders_have():
    make_topics("a")
    [one] = listed().rows
    assert (one.partitions, one.leaderless, one.messages, one.size_bytes) == (2, 0, 60, 2_000)


def test_without_a_leader_that_counts_that_has_most():
    make_topics("a")
    Partition.objects.filter(index=1).update(leader=None)
    [one] = listed().rows
    assert (one.leaderless, one.messages) == (1, 30 + 80)
    [of] = partition_figures([one.topic.pk]).values()
    assert sorted(figures.messages for figures in of.values()) == [30, 80]


def test_groups_are_counted_by_the_topics_that_they_read():
    make_topics("a", "b")
    for name, topics in (("g1", ["a"]), ("g2", ["a", "b"])):
        ConsumerGroup.objects.create(name=name, topics={topic: [2, 1] for topic in topics})
    assert [one.groups for one in listed().rows] == [2, 1]


def test_what_is_kept_is_said_in_words():
    make_topics("a")
    topic = Topic.objects.get()
    [one] = listed().rows
    assert one.kept == "for good"
    topic.retention_ms, topic.retention_bytes = 604_800_000, 10 << 30
    topic.save()
    assert listed().rows[0].kept == "7 d or 10.0 GiB a partition"


def test_a_page_takes_as_many_queries_however_many_topics_it_has():
    make_topics("a")
    with CaptureQueriesContext(connection) as few:
        listed()
    make_topics("a", "b", "c", "d")
    with CaptureQueriesContext(connection) as many:
        listed()
    assert len(many) == len(few)
