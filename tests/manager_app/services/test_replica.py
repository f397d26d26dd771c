from __future__ import annotations

import pytest

from manager_app.models import Broker, BrokerState, Event, Partition, Replica
from manager_app.placement.repair_rules import MemberRole, Retarget
from manager_app.services.cluster import cluster_ensure
from manager_app.services.replica import moves_note, replicas_forget, replicas_retarget
from manager_app.services.topic import topic_create

pytestmark = pytest.mark.django_db


@pytest.fixture
def replicas():
    cluster_ensure()
    for number in range(1, 6):
        Broker.objects.create(
            incarnation=f"{number:032x}", address=f"http://h:{number}", state=BrokerState.ALIVE
        )
    topic_create(name="logs", number_of_partitions=1, replication_factor=3)
    return list(Replica.objects.order_by("position"))


def spare():
    return Broker.objects.filter(replicas=None).order_by("broker_id").first()


def retarget(**fields):
    partition = Partition.objects.get()
    values = {"drop": None, "add": None, **fields}
    version = values.pop("version", partition.placement_version)
    return replicas_retarget(partition.group_id, Retarget(**values), version=version)


def test_a_new_replica_takes_the_place_of_the_old_one_under_a_new_id(replicas):
    old, broker = replicas[0], spare()
    assert retarget(drop=old.replica_id, add=broker.broker_id)
    new = Replica.objects.get(broker=broker)
    assert new.replica_id > max(one.replica_id for one in replicas)
    assert (new.position, new.bootstrap, new.membership) == (0, False, MemberRole.NONE)
    old.refresh_from_db()
    assert old.leaving
    assert Partition.objects.get().placement_version == 2


def test_a_decision_on_an_older_version_changes_nothing(replicas):
    assert retarget(drop=replicas[2].replica_id)
    assert not retarget(drop=replicas[1].replica_id, version=1)
    assert Replica.objects.filter(leaving=True).count() == 1
    assert Partition.objects.get().placement_version == 2


def test_a_broker_that_may_not_hold_it_is_not_taken(replicas):
    broker = spare()
    for changes in (
        {"disk_free_bytes": 1},
        {"disk_free_bytes": 0, "draining": True},
        {"draining": False, "state": BrokerState.DEAD},
    ):
        Broker.objects.filter(pk=broker.pk).update(**changes)
        assert not retarget(add=broker.broker_id)
    assert not retarget(add=replicas[0].broker_id)
    assert not retarget(add=9_999)
    assert Partition.objects.get().placement_version == 1


def test_one_that_was_to_leave_is_kept_in_place_of_the_new_one(replicas):
    broker = spare()
    assert retarget(drop=replicas[1].replica_id, add=broker.broker_id)
    new = Replica.objects.get(broker=broker)
    assert retarget(drop=new.replica_id, keep=replicas[1].replica_id)
    wanted = Replica.objects.filter(leaving=False).order_by("position")
    assert [one.replica_id for one in wanted] == [one.replica_id for one in replicas]
    assert Partition.objects.get().placement_version == 3


def test_only_what_left_and_is_no_member_is_forgotten(replicas):
    ids = [one.replica_id for one in replicas]
    assert replicas_forget(ids) == 0
    retarget(drop=ids[2])
    assert replicas_forget(ids) == 0
    Replica.objects.filter(pk=ids[2]).update(membership=MemberRole.NONE)
    assert replicas_forget(ids) == 1
    assert Replica.objects.count() == 2


def test_the_moves_of_a_round_and_their_ends_are_events(replicas):
    old, broker = replicas[0], spare()
    moves_note("balance", [])
    assert retarget(drop=old.replica_id, add=broker.broker_id)
    change = Retarget(old.replica_id, broker.broker_id)
    moves_note("balance", [(old.partition_id, change)])
    Replica.objects.filter(pk=old.pk).update(membership=MemberRole.NONE)
    replicas_forget([old.pk])
    assert [event.text for event in Event.objects.order_by("id")] == [
        f"Moving 1 replica for balance: logs/0 from broker {old.broker_id} to broker {broker.pk}",
        f"1 replica moved away: logs/0 has left broker {old.broker_id}",
    ]
