from __future__ import annotations

from dataclasses import replace

import pytest
from django.db import transaction
from django.utils import timezone
from msgspec.structs import fields

from http_base.cluster import DeletedPartition, ReplicaReport
from manager_app import selectors
from manager_app.inputs import ClientsQuery
from manager_app.models import (
    Broker,
    BrokerState,
    Cluster,
    Partition,
    Producer,
    Replica,
    ReplicaState,
    Topic,
)
from manager_app.selectors import ClientKey
from manager_app.services.broker import broker_create
from manager_app.services.cluster import cluster_ensure, metadata_bump, topics_mark
from manager_app.services.topic import topic_create, topic_delete, topic_update
from myqueue.contract.errors import BrokerNotFound, TopicDoesNotExist
from tests.manager_app.many_partitions import READS, make_cluster

pytestmark = pytest.mark.django_db


@pytest.fixture
def brokers():
    cluster_ensure()
    return [
        Broker.objects.create(
            incarnation=f"{number:032x}", address=f"http://h:{number}", state=BrokerState.ALIVE
        )
        for number in (1, 2, 3)
    ]


def make(name="logs", partitions=2):
    return topic_create(name=name, number_of_partitions=partitions, replication_factor=3)


def said(group_id, topic, partition):
    named = {"topic": topic, "role": "follower", "serves": False, "replicas": []}
    required = [field.name for field in fields(ReplicaReport) if field.required]
    values = dict.fromkeys(required, 0) | named | {"group_id": group_id, "partition": partition}
    return ReplicaReport(**values)


def test_before_the_first_manager_there_is_nothing():
    assert selectors.cluster_find() is None
    assert selectors.metadata_version() == 0
    loaded = selectors.metadata_load()
    assert (loaded.version, dict(loaded.topics), dict(loaded.brokers)) == (0, {}, {})


def test_the_loaded_metadata_has_everything_in_its_order(brokers):
    for name in ("zebra", "ant"):
        make(name, partitions=11)
    loaded = selectors.metadata_load()
    assert list(loaded.topics) == ["zebra", "ant"]
    for topic in loaded.topics.values():
        assert [partition.index for partition in topic.partitions] == list(range(11))
        for partition in topic.partitions:
            rows = Replica.objects.filter(partition=partition.group_id).order_by("position")
            assert list(partition.replicas) == [row.broker_id for row in rows]
    assert loaded.version == selectors.metadata_version()


def elect(topic, leader, *, term):
    with transaction.atomic():
        metadata_bump(of_topics=True)
        Partition.objects.filter(topic__name=topic).update(leader=leader, term=term)
        topics_mark(Topic.objects.filter(name=topic).values_list("pk", flat=True))


def whole():
    return replace(selectors.metadata_load(), is_part=True, leaders={})


@pytest.mark.parametrize(
    ("change", "read"),
    [
        (lambda _: None, set()),
        (lambda _: make("new"), {"new"}),
        (lambda _: topic_update("ant", number_of_partitions=9, retention={}), {"ant"}),
        (lambda brokers: elect("ant", brokers[1], term=7), {"ant"}),
    ],
    ids=["none", "made", "grown", "led"],
)
def test_of_known_metadata_only_the_topics_that_changed_are_read(
    brokers, django_assert_max_num_queries, change, read
):
    for name in ("zebra", "ant"):
        make(name)
    known = selectors.metadata_load()
    change(brokers)
    with django_assert_max_num_queries(5):
        loaded = selectors.metadata_load(known)
    assert loaded.is_part
    assert replace(loaded, leaders={}) == whole()
    assert list(loaded.topics) == list(whole().topics)
    led = selectors.metadata_load().leaders
    groups = {one.group_id for name in read for one in loaded.topics[name].partitions}
    assert loaded.leaders == {group_id: led[group_id] for group_id in groups}
    kept = loaded.topics.keys() - read
    assert all(loaded.topics[name] is known.topics[name] for name in kept)


@pytest.mark.parametrize(
    "change",
    [
        lambda: topic_delete("ant"),
        lambda: topic_update("ant", retention={"retention_ms": 9_000}),
        lambda: broker_create("http://h:9"),
        lambda: Cluster.objects.update(metadata_version=1, topic_versions=0),
    ],
    ids=["deleted", "retention", "broker", "restored"],
)
def test_after_any_other_change_all_metadata_is_read(brokers, change):
    for name in ("zebra", "ant"):
        make(name)
    known = selectors.metadata_load()
    change()
    assert selectors.metadata_load(known) == selectors.metadata_load()
    assert not selectors.metadata_load(known).is_part


@pytest.mark.parametrize("name", ["nowhere", "", "a\0b", "🙂", "\ud800", "x" * 1_000])
def test_an_unknown_topic_is_no_database_error(name):
    with pytest.raises(TopicDoesNotExist):
        selectors.topic_get(name)


@pytest.mark.parametrize("number", [0, -1, 99, 2**31, 2**63, 10**30])
def test_a_number_without_a_row_is_no_database_error(number):
    with pytest.raises(BrokerNotFound):
        selectors.broker_get(number)
    assert selectors.broker_find(number) is None
    assert selectors.broker_find(str(number)) is None
    assert selectors.client_find(ClientKey("producer", number)) is None


def test_a_broker_is_found_by_id_and_by_address_but_not_after_it_was_replaced(brokers):
    first = brokers[0]
    for key in (first.broker_id, str(first.broker_id), "http://h:1", "http://h:1/"):
        assert selectors.broker_find(key) == first
    Broker.objects.filter(pk=first.pk).update(state=BrokerState.REPLACED)
    assert selectors.broker_find("http://h:1") is None
    assert selectors.broker_find(first.broker_id) == first


def test_loads_count_replicas_and_first_replicas_of_live_brokers(brokers):
    make(partitions=3)
    assert [(load.replicas, load.leaders) for load in selectors.broker_loads()] == [(3, 1)] * 3
    Broker.objects.filter(pk=brokers[0].pk).update(state=BrokerState.DEAD)
    assert len(selectors.broker_loads()) == 2


def test_orders_carry_all_places_and_bootstrap_only_what_was_never_reported(brokers):
    make(partitions=1)
    Replica.objects.filter(position=1).update(state=ReplicaState.RUNNING)
    orders = selectors.replica_orders(Replica.objects.all(), 7)
    by_broker = {broker_id: of_one[0] for broker_id, of_one in orders.items()}
    first, second, third = (row.broker_id for row in Replica.objects.order_by("position"))
    assert by_broker[first].bootstrap
    assert not by_broker[second].bootstrap
    assert by_broker[third].bootstrap
    for order in by_broker.values():
        assert [place.broker_id for place in order.replicas] == [first, second, third]
        assert (order.epoch, order.version, order.topic) == (7, 1, "logs")


def test_of_reported_groups_those_of_deleted_topics_are_known(brokers):
    kept, gone = make("kept"), make("gone")
    ids = {topic.name: [row.group_id for row in topic.partitions.all()] for topic in (kept, gone)}
    topic_delete("gone")
    (first, second), (third, _) = ids["gone"], ids["kept"]
    reported = [
        said(first, "gone", 0),
        said(second, "lost", 1),
        said(third, "kept", 0),
        said(8_000_000, "gone", 0),
    ]
    assert selectors.deleted_among(reported) == [
        DeletedPartition(group_id=first, topic="gone", partition=0)
    ]
    assert selectors.deleted_among([said(second, "gone", 0)]) == []


def test_revoked_clients_are_listed_apart(brokers):
    topic = make()
    rows = [
        Producer.objects.create(topic=topic, last_heartbeat=timezone.now(), state=state)
        for state in ("alive", "expired", "revoked")
    ]
    listed = selectors.clients_list("producer", ClientsQuery(topic="logs")).rows
    assert [row.key.client_id for row in listed] == [rows[0].pk, rows[1].pk]
    assert selectors.clients_revoked("producer") == [rows[2].pk]
    assert [key.client_id for key, _ in selectors.clients_alive("producer")] == [rows[0].pk]
    assert selectors.client_find(ClientKey("producer", rows[2].pk)) is None


def test_a_small_cluster_is_read_in_as_many_queries_as_a_large_one(django_assert_num_queries):
    make_cluster(1)
    for read, queries in READS.values():
        with django_assert_num_queries(queries):
            read()
