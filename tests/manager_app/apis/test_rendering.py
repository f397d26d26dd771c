from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from http_base.cluster import ReplicaReport
from manager_app import selectors
from manager_app.answers import unix_ms
from manager_app.apis.rendering import partition_detail
from manager_app.models import Broker, BrokerState, Partition, Replica, Topic


@pytest.fixture
def partition(db):
    """A partition led by broker 1 in term 3, with last reports."""
    topic = Topic.objects.create(name="logs", partitions_at_creation=1, replication_factor=3)
    brokers = [
        Broker.objects.create(
            incarnation=f"{number:032x}", address=f"http://h:{number}", state=BrokerState.ALIVE
        )
        for number in (1, 2, 3)
    ]
    partition = Partition.objects.create(topic=topic, index=0, leader=brokers[0], term=3)
    for position, (broker, high_watermark) in enumerate(zip(brokers, (5, 7, 6), strict=True)):
        Replica.objects.create(
            partition=partition,
            broker=broker,
            position=position,
            bootstrap=True,
            role="follower" if position else "leader",
            high_watermark=high_watermark,
        )
    return selectors.topic_partitions(topic)[0]


def reported(role, term, leader, high_watermark=0):
    """Return what a broker says of its replica."""
    return ReplicaReport(
        group_id=1,
        replica_id=1,
        topic="logs",
        partition=0,
        role=role,
        term=term,
        leader_broker_id=leader,
        serves=role == "leader",
        log_start_offset=0,
        high_watermark=high_watermark,
        commit_index=0,
        applied_index=0,
        last_index=0,
        placement_version=1,
        replicas=[],
    )


def brokers_of(partition):
    return [replica.broker_id for replica in partition.replicas]


def test_without_live_reports_the_stored_ones_stand(partition):
    detail = partition_detail(partition, {})
    assert (detail.leader.address, detail.term) == ("http://h:1", 3)
    assert detail.high_watermark == 5
    assert [replica.role for replica in detail.replicas] == [
        "leader",
        "follower",
        "follower",
    ]
    assert not any(replica.live for replica in detail.replicas)


def test_a_live_report_of_a_higher_term_names_the_new_leader(partition):
    _, second, _ = brokers_of(partition)
    report = reported("leader", 4, second, high_watermark=9)
    detail = partition_detail(partition, {(partition.group_id, second): report})
    assert (detail.leader.address, detail.term) == ("http://h:2", 4)
    assert detail.high_watermark == 9
    assert detail.replicas[1].live


def test_a_leader_that_says_itself_that_it_leads_is_believed_in_the_same_term(partition):
    _, second, third = brokers_of(partition)
    partition = replace(partition, leader_id=None)
    report = reported("leader", 3, second)
    detail = partition_detail(partition, {(partition.group_id, second): report})
    assert (detail.leader.address, detail.term) == ("http://h:2", 3)
    hearsay = reported("follower", 3, second)
    detail = partition_detail(partition, {(partition.group_id, third): hearsay})
    assert detail.leader is None


def test_a_live_report_of_an_older_term_changes_no_leader(partition):
    _, second, _ = brokers_of(partition)
    report = reported("leader", 2, second)
    detail = partition_detail(partition, {(partition.group_id, second): report})
    assert detail.leader.address == "http://h:1"


def test_without_a_leader_the_replica_that_got_furthest_tells_the_offsets(partition):
    partition = replace(partition, leader_id=None)
    detail = partition_detail(partition, {})
    assert detail.leader is None
    assert detail.high_watermark == 7


def test_times_are_milliseconds_since_1970():
    assert unix_ms(datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)) == 1_500
    assert unix_ms(None) is None
