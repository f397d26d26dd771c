from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from msgspec.structs import replace

from http_base.cluster import BrokerReport, ReplicaPlace, ReplicaReport
from manager_app.metadata import Leadership
from manager_app.models import (
    Broker,
    BrokerState,
    Cluster,
    Event,
    Partition,
    Replica,
    ReplicaState,
    Topic,
)
from manager_app.placement.repair_rules import MemberRole
from manager_app.services.cluster import cluster_ensure, metadata_bump
from manager_app.services.report import broker_report
from manager_app.services.topic import topic_create, topic_delete, topic_update

pytestmark = pytest.mark.django_db


def report(number, /, **fields):
    values = {
        "incarnation": f"{number:032x}",
        "address": f"http://h:{number}",
        "raft_address": f"h:{number}",
        **fields,
    }
    return BrokerReport(**values)


@dataclass
class Placed:
    """One partition on three brokers."""

    group_id: int
    brokers: list[int]
    replicas: list[int]

    def said(self, position=0, **fields):
        values = {
            "group_id": self.group_id,
            "replica_id": self.replicas[position],
            "topic": "logs",
            "partition": 0,
            "role": "follower",
            "term": 1,
            "leader_broker_id": 0,
            "serves": False,
            "log_start_offset": 0,
            "high_watermark": 0,
            "commit_index": 0,
            "applied_index": 0,
            "last_index": 0,
            "placement_version": 1,
            "replicas": [],
        }
        return ReplicaReport(**(values | fields))


@pytest.fixture
def placed():
    cluster_ensure()
    brokers = [broker_report(report(number)).broker_id for number in (1, 2, 3)]
    topic_create(name="logs", number_of_partitions=1, replication_factor=3)
    rows = list(Replica.objects.order_by("broker_id"))
    return Placed(rows[0].partition_id, brokers, [row.replica_id for row in rows])


def test_a_first_report_makes_a_broker_and_a_second_changes_nothing():
    first = broker_report(report(1))
    version = cluster_ensure().metadata_version
    second = broker_report(report(1))
    assert (first.broker_id, first.metadata_changed) == (second.broker_id, True)
    assert not second.metadata_changed
    assert cluster_ensure().metadata_version == version


def test_what_a_replica_says_is_stored(placed):
    said = placed.said(role="leader", high_watermark=5, log_start_offset=2, last_index=9)
    broker_report(report(1, replicas=[said]))
    row = Replica.objects.get(pk=placed.replicas[0])
    assert (row.state, row.role, row.high_watermark) == (ReplicaState.RUNNING, "leader", 5)
    assert (row.log_start_offset, row.last_index) == (2, 9)
    assert row.reported_at is not None


def test_a_faulty_replica_is_marked_with_its_reason(placed):
    broker_report(report(1, replicas=[placed.said(faulty="checksum\0 of entry 7")]))
    row = Replica.objects.get(pk=placed.replicas[0])
    assert (row.state, row.fault) == (ReplicaState.FAULTY, "checksum of entry 7")


def test_a_replica_that_is_missing_is_marked_kept_and_recovers(placed):
    broker_report(report(1, replicas=[placed.said()]))
    assert broker_report(report(1)).orders.assignment == []
    assert Replica.objects.get(pk=placed.replicas[0]).state == ReplicaState.MISSING
    broker_report(report(1, replicas=[placed.said()]))
    assert Replica.objects.get(pk=placed.replicas[0]).state == ReplicaState.RUNNING


def test_a_partial_report_says_nothing_about_the_replicas_that_it_leaves_out(placed):
    broker_report(report(1, replicas=[placed.said()]))
    orders = broker_report(report(1, full=False)).orders
    assert Replica.objects.get(pk=placed.replicas[0]).state == ReplicaState.RUNNING
    assert orders.assignment == []
    assert (orders.revoked_producers, orders.revoked_consumers) == (None, None)


def test_leaders_move_with_terms_and_only_then_the_version_rises(placed):
    first, second, _ = placed.brokers
    taken = broker_report(report(1, replicas=[placed.said(leader_broker_id=first, term=2)]))
    assert taken.leaders == [(placed.group_id, Leadership(first, 2))]
    version = cluster_ensure().metadata_version
    again = broker_report(report(1, replicas=[placed.said(leader_broker_id=first, term=2)]))
    assert again.leaders == []
    older = placed.said(1, leader_broker_id=second, term=1)
    assert broker_report(report(2, replicas=[older])).leaders == []
    assert cluster_ensure().metadata_version == version
    newer = placed.said(1, leader_broker_id=second, term=3)
    broker_report(report(2, full=False, replicas=[newer]))
    partition = Partition.objects.get()
    assert (partition.leader_id, partition.term) == (second, 3)
    assert cluster_ensure().metadata_version == version + 1


def test_what_a_leader_said_before_it_won_does_not_depose_it(placed):
    first = placed.brokers[0]
    broker_report(report(2, replicas=[placed.said(1, leader_broker_id=first, term=2)]))
    late = placed.said(role="candidate", term=2)
    assert broker_report(report(1, replicas=[late])).leaders == []
    assert Partition.objects.get().leader_id == first


@pytest.mark.parametrize(("role", "term"), [("follower", 2), ("candidate", 3)])
def test_a_leader_that_says_that_it_leads_no_more_is_believed(placed, role, term):
    first = placed.brokers[0]
    broker_report(report(1, replicas=[placed.said(leader_broker_id=first, role="leader", term=2)]))
    said = placed.said(role=role, term=term)
    assert broker_report(report(1, replicas=[said])).leaders == [
        (placed.group_id, Leadership(0, term))
    ]
    assert Partition.objects.get().leader_id is None


def test_a_leader_that_nobody_knows_is_ignored(placed):
    assert broker_report(report(1, replicas=[placed.said(leader_broker_id=999)])).leaders == []


def test_a_group_or_replica_that_is_not_the_brokers_own_is_ignored(placed):
    strange = [
        placed.said(group_id=4_000_000),
        replace(placed.said(1), term=9, leader_broker_id=0),
    ]
    taken = broker_report(report(1, replicas=strange))
    assert taken.orders.deleted_groups == []
    assert set(Replica.objects.values_list("state", flat=True)) == {ReplicaState.ORDERED}


def test_a_group_that_is_another_partition_in_the_database_is_left_alone(placed, caplog):
    Topic.objects.update(name="other")  # a restored database gave the group id again
    first = placed.brokers[0]
    lost = placed.said(
        serves=True, role="leader", leader_broker_id=first, replicas=[ReplicaPlace(1, 1)]
    )
    for said in (lost, replace(lost, replica_id=99), replace(lost, topic="other", partition=1)):
        taken = broker_report(report(1, replicas=[said]))
        assert (taken.leaders, taken.orders.removed_replicas) == ([], [])
        assert f"group {placed.group_id}: there it is {said.topic}" in caplog.text
    row = Replica.objects.get(pk=placed.replicas[0])
    assert (row.state, row.membership) == (ReplicaState.ORDERED, MemberRole.VOTER)
    assert Partition.objects.get().membership_term == 0
    topic_delete("other")
    assert broker_report(report(1, replicas=[lost])).orders.deleted_groups == []
    orders = broker_report(report(1, replicas=[replace(lost, topic="other")])).orders
    (deleted,) = orders.deleted_groups
    assert (deleted.group_id, deleted.topic, deleted.partition) == (placed.group_id, "other", 0)


def test_a_stopping_broker_is_told_apart_and_comes_back(placed):
    assert broker_report(report(1, stopping=True)).metadata_changed
    assert Broker.objects.get(pk=placed.brokers[0]).state == BrokerState.STOPPING
    broker_report(report(1))
    assert Broker.objects.get(pk=placed.brokers[0]).state == BrokerState.ALIVE


def test_a_broker_that_moved_to_an_announced_address_takes_it_over(placed):
    Broker.objects.create(address="http://h:9")
    broker_report(report(1, address="http://h:9"))
    assert [row.broker_id for row in Broker.objects.filter(address="http://h:9")] == [
        placed.brokers[0]
    ]


@pytest.mark.parametrize("offset", [0, 7])
def test_a_report_takes_as_many_statements_whatever_it_says_of_how_many(offset):
    """Not one for each replica; a changed one only adds to the values of one statement."""
    cluster_ensure()
    for number in (1, 2, 3):
        broker_report(report(number))
    numbers = []
    for topic, partitions in (("few", 2), ("many", 40)):
        topic_create(name=topic, number_of_partitions=partitions, replication_factor=3)
        rows = Replica.objects.filter(broker_id=1, partition__topic__name=topic)
        said = [
            Placed(row.partition_id, [1], [row.replica_id]).said(
                topic=topic,
                partition=row.partition.index,
                role="leader",
                serves=True,
                leader_broker_id=1,
                replicas=[ReplicaPlace(row.replica_id, 1)],
            )
            for row in rows.select_related("partition")
        ]
        broker_report(report(1, replicas=said, full=False))
        later = [replace(one, high_watermark=offset) for one in said]
        with CaptureQueriesContext(connection) as queries:
            broker_report(report(1, replicas=later, full=False))
        numbers.append(len(queries))
    assert numbers[0] == numbers[1]


def test_a_replica_that_comes_back_with_less_than_it_reported_is_told_so(placed, caplog):
    had = placed.said(high_watermark=7, last_index=12, kept_term=3, kept_index=10)
    assert broker_report(report(1, replicas=[had])).orders.remembered == []
    row = Replica.objects.get(pk=placed.replicas[0])
    assert (row.kept_term, row.kept_index, row.kept_offset) == (3, 10, 7)

    less = placed.said(high_watermark=2, last_index=9, kept_term=3, kept_index=9)
    told = broker_report(report(1, replicas=[less])).orders.remembered

    assert [(one.replica_id, one.kept_term, one.kept_index) for one in told] == [
        (placed.replicas[0], 3, 10)
    ]
    assert "accept-loss" in caplog.text
    row.refresh_from_db()
    assert (row.last_index, row.kept_term, row.kept_index, row.kept_offset) == (9, 3, 10, 7)


def test_a_replica_with_an_earlier_term_is_told_so_as_well(placed):
    broker_report(report(1, replicas=[placed.said(last_index=9, kept_term=4, kept_index=9)]))
    less = placed.said(last_index=9, kept_term=3, kept_index=9)
    assert len(broker_report(report(1, replicas=[less])).orders.remembered) == 1


def test_a_longer_log_whose_end_was_overwritten_since_is_told_so_as_well(placed):
    had = {"kept_term": 3, "kept_index": 10}
    broker_report(
        report(1, replicas=[placed.said(last_index=10, last_term=3, kept_entry_term=3, **had)])
    )
    less = placed.said(last_index=12, last_term=2, **had)
    (told,) = broker_report(report(1, replicas=[less])).orders.remembered
    assert (told.kept_index, told.kept_entry_term) == (10, 3)


@pytest.mark.parametrize(
    "fields",
    [
        {"last_index": 12, "last_term": 3, "kept_term": 3, "kept_index": 4},
        {"last_index": 10, "kept_term": 3, "kept_index": 4},
        {"last_index": 2, "kept_term": 3, "kept_index": 2, "faulty": "known"},
        {"last_index": 2, "kept_term": 3, "kept_index": 2, "installing": True},
        {"last_index": 2},
    ],
)
def test_who_has_all_or_knows_or_takes_a_snapshot_in_or_says_nothing_is_not_told(placed, fields):
    had = placed.said(last_index=12, kept_term=3, kept_index=10)
    broker_report(report(1, replicas=[had]))
    told = broker_report(report(1, replicas=[placed.said(**fields)])).orders.remembered
    assert told == []


def test_only_the_answer_to_a_full_report_vouches(placed):
    assert broker_report(report(1, replicas=[placed.said()], full=False)).orders.remembered is None


@dataclass
class Told:
    """A manager that has a full report of broker 1, and one that follows it."""

    placed: Placed
    full: BrokerReport

    def follow(self, **fields):
        version = Cluster.objects.get().whole_version
        values = {
            "full": False,
            "number": self.full.number + 1,
            "follows": self.full.number,
            "metadata_version": version,
        }
        return report(1, **(values | fields))

    @property
    def row(self):
        return Replica.objects.get(replica_id=self.placed.replicas[0])


@pytest.fixture
def told(placed):
    full = report(1, number=70, replicas=[placed.said(high_watermark=5)])
    assert broker_report(full).orders.taken == 70
    return Told(placed, full)


def test_a_report_that_follows_stands_for_a_full_one(told):
    orders = broker_report(told.follow()).orders
    assert (orders.taken, orders.assignment, orders.revoked_producers) == (71, [], [])
    assert orders.metadata_version == Cluster.objects.get().whole_version
    assert (told.row.state, told.row.high_watermark) == ("running", 5)
    said = told.placed.said(high_watermark=9)
    orders = broker_report(told.follow(number=72, follows=71, replicas=[said])).orders
    assert (orders.taken, told.row.high_watermark) == (72, 9)


def test_reports_follow_while_topics_are_made_grow_and_elect_leaders(told):
    late = told.follow()
    topic_create(name="audit", number_of_partitions=2, replication_factor=3)
    topic_update("audit", number_of_partitions=4, retention={})
    elected = told.placed.said(1, role="leader", leader_broker_id=told.placed.brokers[1], term=2)
    assert broker_report(report(2, full=False, replicas=[elected])).leaders
    assert broker_report(late).orders.taken == 71


@pytest.mark.parametrize(
    "change",
    [
        lambda: topic_update("logs", number_of_partitions=2, retention={"retention_ms": 9_000}),
        lambda: topic_delete("logs"),
        lambda: broker_report(report(2, stopping=True)),
        metadata_bump,
    ],
    ids=["retention", "deletion", "broker", "other"],
)
def test_no_report_follows_one_before_a_change_that_its_broker_may_have_to_hear_of(told, change):
    late = told.follow()
    change()
    orders = broker_report(late).orders
    assert orders.taken == 0
    assert orders.metadata_version != late.metadata_version


def test_what_is_gone_since_the_report_before_is_missing(told):
    orders = broker_report(told.follow(gone=[told.placed.group_id])).orders
    assert (orders.taken, told.row.state) == (71, "missing")


@pytest.mark.parametrize("gap", [{"follows": 69}, {"metadata_version": 1}])
def test_of_a_report_with_a_gap_before_it_nothing_is_stored_but_the_sign_of_life(told, gap):
    said = told.placed.said(high_watermark=9)
    before = Broker.objects.get(incarnation=report(1).incarnation)
    late = told.follow(replicas=[said], gone=[told.placed.group_id], **gap)
    orders = broker_report(late).orders
    assert (orders.taken, orders.revoked_producers) == (0, None)
    assert (told.row.state, told.row.high_watermark) == ("running", 5)
    after = Broker.objects.get(pk=before.pk)
    assert after.last_heartbeat > before.last_heartbeat
    assert after.report_number == 70


def test_a_database_that_is_older_than_the_report_before_wants_a_full_one(told):
    broker_report(told.follow())
    Broker.objects.update(report_number=70)
    assert broker_report(told.follow(number=72, follows=71)).orders.taken == 0
    assert broker_report(replace(told.full, number=73)).orders.taken == 73
    assert broker_report(told.follow(number=74, follows=73)).orders.taken == 74


def test_a_report_of_some_replicas_neither_follows_nor_is_followed(told):
    orders = broker_report(report(1, full=False)).orders
    assert orders.taken == 0
    assert broker_report(told.follow()).orders.taken == 71


def texts(**asked):
    return [event.text for event in Event.objects.filter(**asked).order_by("id")]


def test_elections_of_a_report_are_one_event_and_a_repetition_none(placed):
    one, two, _ = placed.brokers
    said = placed.said(role="leader", term=3, leader_broker_id=one)
    broker_report(report(1, broker_id=one, replicas=[said]))
    broker_report(report(1, broker_id=one, replicas=[said]))
    other = placed.said(1, term=4, leader_broker_id=two)
    broker_report(report(2, broker_id=two, replicas=[other]))
    broker_report(report(1, broker_id=one, replicas=[replace(said, term=4, leader_broker_id=two)]))
    assert texts(kind="election") == [
        f"logs/0 is led by broker {one} (term 3)",
        f"logs/0 is led by broker {two} (term 4)",
    ]


def test_a_broker_that_joins_stops_and_comes_back_is_texts(placed):
    one = placed.brokers[0]
    broker_report(report(1, broker_id=one, stopping=True))
    broker_report(report(1, broker_id=one))
    assert [text.partition(" at ")[2] for text in texts(about=f"\nbroker:{one}\n")] == [
        "http://h:1 joined the cluster",
        "http://h:1 stops, as it was asked to",
        "http://h:1 reports again",
    ]


def test_a_replica_that_is_faulty_and_heals_is_texts(placed):
    one = placed.brokers[0]
    for faulty in ("it is empty", "it is empty", ""):
        broker_report(report(1, broker_id=one, replicas=[placed.said(faulty=faulty)]))
    assert texts(action__startswith="replicas") == [
        f"Broker {one} has 1 replica faulty or missing: logs/0",
        f"Broker {one} has 1 replica whole again",
    ]


def test_a_thousand_elections_cost_one_statement_for_their_event(placed):
    one = placed.brokers[0]
    topic_create(name="many", number_of_partitions=1_000, replication_factor=1)
    Replica.objects.filter(partition__topic__name="many").update(broker_id=one)
    rows = Replica.objects.filter(partition__topic__name="many").values_list(
        "partition_id", "replica_id", "partition__index"
    )
    replicas = [
        placed.said(
            group_id=group_id,
            replica_id=replica_id,
            topic="many",
            partition=index,
            role="leader",
            leader_broker_id=one,
        )
        for group_id, replica_id, index in rows
    ]
    with CaptureQueriesContext(connection) as asked:
        broker_report(report(1, broker_id=one, replicas=replicas))
    written = [query for query in asked if '"manager_app_event"' in query["sql"]]
    assert [query["sql"].split()[0] for query in written] == ["INSERT"]
    event = Event.objects.get(kind="election")
    assert event.text.startswith(f"Leaders of 1,000 partitions changed; broker {one} leads 1,000")
