from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from manager_app.health.facts import Named, stored_facts
from manager_app.models import Broker, BrokerState, Partition, Replica, ReplicaState, Topic
from tests.manager_app.many_partitions import make_cluster

pytestmark = pytest.mark.django_db


def test_a_whole_cluster_lacks_nothing():
    make_cluster(2)
    facts = stored_facts()
    assert (facts.topics, facts.partitions) == (2, 20)
    assert facts.leaderless == facts.under_replicated == facts.lost == Named(0, ())
    assert sum(one.leaders for one in facts.brokers) == 20
    assert sum(one.replicas for one in facts.brokers) == 60
    assert facts.dead_letters == {}


def test_a_silent_broker_leaves_partitions_without_leader_and_replica():
    make_cluster(1)
    broker = Broker.objects.first()
    led = broker.led_partitions.count()
    held = broker.replicas.count()
    facts = stored_facts(frozenset({broker.broker_id}))
    assert facts.brokers[0].state == "suspect"
    assert facts.leaderless.count == led > 0
    assert facts.under_replicated.count == held > led
    assert facts.under_replicated.names == ("t0/0", "t0/4", "t0/5")
    Broker.objects.filter(pk=broker.pk).update(state=BrokerState.DEAD)
    of_dead = stored_facts()
    assert of_dead.brokers[0].state == "dead"
    assert of_dead.under_replicated == facts.under_replicated


def test_a_partition_without_a_leader_and_replicas_that_lost_data_are_found():
    make_cluster(1)
    Partition.objects.filter(index=2).update(leader=None)
    first = Replica.objects.order_by("replica_id")[0]
    Replica.objects.filter(pk=first.pk).update(state=ReplicaState.FAULTY)
    facts = stored_facts()
    assert facts.leaderless == Named(1, ("t0/2",))
    assert facts.lost == Named(1, ("t0/0",))


def test_a_replica_that_leaves_does_not_count():
    make_cluster(1)
    one = Replica.objects.filter(partition__index=5).first()
    Replica.objects.filter(pk=one.pk).update(leaving=True)
    assert stored_facts().under_replicated == Named(1, ("t0/5",))


def test_dead_letters_are_what_lies_in_topics_of_that_name():
    make_cluster(1)
    Topic.objects.update(name="mails.dead")
    partition = Partition.objects.get(index=0)
    Replica.objects.filter(partition=partition, broker=partition.leader).update(
        log_start_offset=10, high_watermark=17
    )
    assert stored_facts().dead_letters == {"mails.dead": 7}


def test_a_replaced_broker_is_nobody():
    make_cluster(1)
    last = Broker.objects.last()
    Broker.objects.filter(pk=last.pk).update(state=BrokerState.REPLACED)
    assert len(stored_facts().brokers) == 5


def test_it_takes_as_many_statements_however_many_partitions_there_are():
    def statements():
        with CaptureQueriesContext(connection) as asked:
            stored_facts(frozenset({1}))
        return len(asked)

    make_cluster(1)
    few = statements()
    Topic.objects.all().delete()
    Broker.objects.all().delete()
    make_cluster(5)
    assert statements() == few <= 9
