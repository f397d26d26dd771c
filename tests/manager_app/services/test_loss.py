"""Storing an accepted loss."""

from __future__ import annotations

import pytest

from http_base.cluster import StoredReplica
from manager_app.models import Event, LossAccepted, Partition, Replica
from manager_app.placement.loss_rules import LossFacts, LossPlan
from manager_app.services.loss import loss_done, loss_store, loss_unfinished
from manager_app.services.report import broker_report
from manager_app.services.topic import topic_create
from myqueue.contract.errors import StalePlacement
from tests.manager_app.services.test_report import report

pytestmark = pytest.mark.django_db


@pytest.fixture
def partition():
    for number in (1, 2, 3):
        broker_report(report(number))
    topic_create(name="logs", number_of_partitions=1, replication_factor=3)
    return Partition.objects.select_related("topic").get()


def plan_of(partition):
    row = partition.replicas.order_by("replica_id")[1]
    found = StoredReplica(
        replica_id=row.replica_id,
        faulty="older copy",
        hears_leader=False,
        unusable="",
        term=7,
        last_term=7,
        last_index=9,
        end_offset=5,
    )
    facts = LossFacts(
        row.replica_id,
        row.broker_id,
        gone=False,
        faulty=True,
        kept_term=7,
        kept_offset=8,
        found=found,
    )
    return LossPlan(facts, above_term=7, end_offset=5, known_offset=8, next_offset=100)


def test_one_new_replica_takes_the_place_of_all(partition):
    plan = plan_of(partition)
    accepted = loss_store(partition, plan, by="ada")
    (row,) = Replica.objects.all()
    assert row.replica_id != plan.survivor.replica_id
    assert (row.replica_id, row.broker_id) == (accepted.new_replica_id, plan.survivor.broker_id)
    noted = Event.objects.get(action="accept loss")
    assert (noted.person, noted.outcome) == ("ada", "done")
    assert noted.things == [("topic", "logs"), ("broker", str(plan.survivor.broker_id))]
    assert (noted.details["lost_from"], noted.details["lost_below"]) == (5, 8)
    stored = Partition.objects.get()
    assert (stored.placement_version, stored.term, stored.leader_id) == (2, 7, None)
    assert loss_unfinished(partition.group_id) == accepted
    loss_done(accepted)
    assert loss_unfinished(partition.group_id) is None
    assert str(LossAccepted.objects.get()) == "logs/0 from 5 to 8"


def test_a_plan_for_other_replicas_is_refused(partition):
    plan = plan_of(partition)
    Partition.objects.update(placement_version=2)
    with pytest.raises(StalePlacement, match="meanwhile"):
        loss_store(partition, plan, by="ada")
    assert Replica.objects.count() == 3
    assert not LossAccepted.objects.exists()
