from __future__ import annotations

import pytest

from manager_app.models import Broker, BrokerState, Partition, Replica, ReplicaState
from manager_app.placement.partition_facts import (
    partition_facts,
    partitions_to_heal,
    replica_facts,
    replica_target,
    replicas_without_refuge,
)
from manager_app.placement.repair_rules import Flaw, MemberRole
from manager_app.services.cluster import cluster_ensure
from manager_app.services.topic import topic_create

pytestmark = pytest.mark.django_db


@pytest.fixture
def partition():
    """One partition on three brokers, led by the first, in the term of its report."""
    cluster_ensure()
    for number in (1, 2, 3):
        Broker.objects.create(
            incarnation=f"{number:032x}", address=f"http://h:{number}", state=BrokerState.ALIVE
        )
    topic_create(name="logs", number_of_partitions=1, replication_factor=3)
    leader = Broker.objects.order_by("pk").first()
    Partition.objects.update(leader=leader, term=2, membership_term=2)
    Replica.objects.update(state=ReplicaState.RUNNING)
    return Partition.objects.get()


@pytest.mark.parametrize(
    ("of_replica", "of_broker", "flaw"),
    [
        ({}, {}, Flaw.NONE),
        ({"state": ReplicaState.ORDERED}, {}, Flaw.NONE),
        ({"state": ReplicaState.FAULTY}, {}, Flaw.LOST),
        ({"state": ReplicaState.MISSING}, {}, Flaw.LOST),
        ({"suspicion": "it forgot"}, {}, Flaw.LOST),
        ({}, {"state": BrokerState.STOPPING}, Flaw.NONE),
        ({}, {"state": BrokerState.DEAD}, Flaw.SILENT),
        ({}, {"state": BrokerState.DEAD, "draining": True}, Flaw.ABANDONED),
        ({}, {"state": BrokerState.REPLACED}, Flaw.LOST),
        ({}, {"draining": True}, Flaw.DRAINING),
        ({"state": ReplicaState.FAULTY}, {"draining": True}, Flaw.LOST),
    ],
)
def test_what_is_wrong_with_a_replica(partition, of_replica, of_broker, flaw):
    chosen = Replica.objects.order_by("pk").last()
    Replica.objects.filter(pk=chosen.pk).update(**of_replica)
    Broker.objects.filter(pk=chosen.broker_id).update(**of_broker)
    facts = replica_facts(Replica.objects.select_related("broker").get(pk=chosen.pk))
    assert facts.flaw == flaw
    to_heal = flaw != Flaw.NONE
    assert partitions_to_heal().exists() == to_heal


def test_a_broker_that_was_given_up_is_told_apart_by_the_caller(partition):
    Broker.objects.update(state=BrokerState.DEAD)
    row = Replica.objects.select_related("broker").first()
    assert replica_facts(row).flaw == Flaw.SILENT
    assert replica_facts(row, {row.broker_id}).flaw == Flaw.ABANDONED


@pytest.mark.parametrize(
    ("of_partition", "of_leader", "led"),
    [
        ({}, {}, True),
        ({"leader": None}, {}, False),
        ({"term": 3}, {}, False),
        ({}, {"state": BrokerState.DEAD}, False),
        ({}, {"state": BrokerState.STOPPING}, False),
    ],
)
def test_only_a_live_leader_that_told_its_members_counts(partition, of_partition, of_leader, led):
    Broker.objects.filter(pk=partition.leader_id).update(**of_leader)
    Partition.objects.update(**of_partition)
    assert partition_facts(Partition.objects.get()).led == led


@pytest.mark.parametrize(
    "change",
    [
        lambda: Replica.objects.update(membership=MemberRole.LEARNER),
        lambda: Replica.objects.filter(position=1).update(leaving=True),
        lambda: Replica.objects.filter(position=1).delete(),
        lambda: Partition.objects.update(strangers=1),
    ],
)
def test_a_partition_that_is_not_as_it_should_be_is_found(partition, change):
    assert not partitions_to_heal().exists()
    change()
    assert [row.group_id for row in partitions_to_heal()] == [partition.group_id]


def test_partitions_of_a_broker_that_may_come_back_are_left_out_unless_they_change(partition):
    last = Replica.objects.order_by("pk").last()
    Broker.objects.filter(pk=last.broker_id).update(state=BrokerState.DEAD)
    assert partitions_to_heal().exists()
    assert not partitions_to_heal([last.broker_id]).exists()
    Replica.objects.filter(position=1).update(leaving=True)
    assert [row.changing for row in partitions_to_heal([last.broker_id])] == [True]


def test_partitions_that_change_come_first():
    cluster_ensure()
    for number in (1, 2, 3):
        Broker.objects.create(
            incarnation=f"{number:032x}", address=f"http://h:{number}", state=BrokerState.ALIVE
        )
    topic_create(name="logs", number_of_partitions=3, replication_factor=3)
    first, second, third = Partition.objects.order_by("pk")
    Replica.objects.update(membership=MemberRole.VOTER)
    Replica.objects.filter(partition=first).update(state=ReplicaState.FAULTY)
    Replica.objects.filter(partition=second, position=0).update(suspicion="it forgot")
    Replica.objects.filter(partition=third, position=2).update(membership=MemberRole.LEARNER)
    found = [(row.group_id, row.changing) for row in partitions_to_heal()]
    assert found == [(third.pk, True), (first.pk, False), (second.pk, False)]


def test_the_target_leaves_out_what_leaves(partition):
    Replica.objects.filter(position=1).update(leaving=True)
    target = replica_target(partition, 7)
    assert (target.epoch, target.version, len(target.replicas)) == (7, 1, 2)


def test_a_replica_has_a_refuge_where_there_is_none_of_its_partition(partition):
    broker = Broker.objects.order_by("pk").first()
    assert replicas_without_refuge(broker) == 1
    spare = Broker.objects.create(
        incarnation=f"{4:032x}", address="http://h:4", state=BrokerState.ALIVE
    )
    assert replicas_without_refuge(broker) == 0
    for changes in (
        {"disk_free_bytes": 1},
        {"disk_free_bytes": 0, "draining": True},
        {"draining": False, "state": BrokerState.DEAD},
    ):
        Broker.objects.filter(pk=spare.pk).update(**changes)
        assert replicas_without_refuge(broker) == 1
