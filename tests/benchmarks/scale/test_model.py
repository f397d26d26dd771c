"""The model multiplies what it should, and stays near the real code on a tiny cluster."""

from __future__ import annotations

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from benchmarks.scale import model
from benchmarks.scale.cluster_size import ClusterSize
from benchmarks.scale.costs import ClusterCosts, Line, ManagerCosts, UnitCosts
from benchmarks.scale.database import make_rows, report_of
from benchmarks.scale.model import Demand, demands, frames, heartbeats, recovery, without_quorum
from broker_app.links import manager_link
from http_base.cluster import BrokerReport
from manager_app import process, selectors
from manager_app.models import Broker, Partition, Replica
from manager_app.placement import repair_round
from manager_app.placement.partition_facts import partitions_to_heal
from manager_app.services.cluster import cluster_ensure
from manager_app.services.report import broker_report
from queuesite import serving
from queuesite.celery import schedule_of
from queuesite.conf import MANAGER, QueueConfig

FREE = Line(0.0, 0.0)
"""Costs nothing."""


def costs_of(*, cluster=None, **manager):
    """Return unit costs of nothing but what is named."""
    lines = {name: FREE for name in ManagerCosts.__struct_fields__ if name != "database"}
    kinds = msgspec.structs.fields(ClusterCosts)
    others = {field.name: FREE if field.type is Line else 0.0 for field in kinds}
    return UnitCosts(
        manager=ManagerCosts(database="sqlite", **(lines | manager)),
        cluster=ClusterCosts(**(others | (cluster or {}))),
    )


def needed(found, what):
    (one,) = [demand for demand in found if demand.what == what]
    return one.needed


def test_what_breaks_first_is_at_the_top():
    found = demands(ClusterSize(), costs_of(report_same=Line(0.0, 1e-4)))
    assert found[0] == Demand("manager", "all of its work", pytest.approx(2.0), "cores", 1.0)
    assert found[1].what == "full reports of brokers"
    assert [one.ratio for one in found] == sorted((one.ratio for one in found), reverse=True)


def test_reports_cost_what_changed():
    size = ClusterSize(brokers=10, partitions=1_000, active_share=0.25)
    costs = costs_of(report_same=Line(0.0, 1.0), report_changed=Line(0.0, 5.0))
    # 10 brokers each 15 s, 300 replicas each; a quarter of them is new.
    assert needed(demands(size, costs), "full reports of brokers") == pytest.approx(
        10 / 15 * 300 * (1 + 0.25 * 4)
    )


def test_descriptions_of_topics_ask_each_broker_of_the_topic():
    size = ClusterSize(brokers=50, partitions=10_000, topic_partitions=4, clients=300)
    costs = costs_of(cluster={"topic_broker": 1.0})
    assert size.brokers_of_topic == 12
    assert needed(demands(size, costs), "descriptions of topics") == pytest.approx(11)
    assert needed(demands(size, costs), "calls to brokers about topics") == pytest.approx(12)


def test_sleeping_groups_cost_nothing_but_the_broker_itself():
    size = ClusterSize(brokers=10, partitions=1_000)
    costs = costs_of(cluster={"broker_idle": Line(0.02, 0.001)})
    found = demands(size, costs)
    assert needed(found, "idle groups, all awake") == pytest.approx(0.02 + 0.3)
    assert needed(found, "idle groups, all asleep") == pytest.approx(0.02)
    assert needed(found, "frames sent, all asleep") == pytest.approx(9 * 10)


def test_heartbeats_are_counted_and_frames_joined():
    three = ClusterSize(brokers=3, partitions=300, racks=3)
    # 100 groups led, two followers each, ten times a second; 200 followed, answered as often.
    assert heartbeats(three) == pytest.approx(100 * 2 * 10 + 200 * 10)
    assert frames(three) == pytest.approx(2 * 2 * 20 + 2 * 10)
    few = ClusterSize(brokers=3, partitions=3, racks=3)
    assert heartbeats(few) == pytest.approx(40)
    assert frames(few) == pytest.approx(40 + 2 * 10)


@pytest.mark.parametrize(
    ("brokers", "lost", "factor", "share"),
    [
        *((3, 1, 3, 0.0), (3, 2, 3, 1.0), (4, 2, 3, 0.5), (6, 2, 3, 0.2)),
        *((5, 2, 5, 0.0), (9, 3, 1, 1 / 3)),
    ],
)
def test_how_many_partitions_lose_their_quorum(brokers, lost, factor, share):
    assert without_quorum(brokers, lost, factor) == pytest.approx(share)


def test_a_rack_takes_as_long_as_its_replicas_need_rounds():
    size = ClusterSize(brokers=90, partitions=9_000, racks=3)
    lost = recovery(size, costs_of(repair_round=Line(4.0, 0.0)), 30)
    assert (lost.shown_s, lost.dead_s, lost.begins_s) == (12, 65, 600)
    assert lost.steps_s == pytest.approx(9_000 / 60 * model.REPAIR_STEPS * 4.0)
    assert lost.led_again_s == (0.0, 2.0)


def test_the_model_knows_the_intervals_and_limits_of_the_product():
    every = schedule_of(MANAGER, QueueConfig())
    reconcile = every["manager_app.tasks.reconcile_placement"]["schedule"]
    balance = every["manager_app.tasks.balance_leaders"]["schedule"]
    assert (reconcile, balance) == (model.RECONCILE_INTERVAL_S, model.BALANCE_INTERVAL_S)
    assert every["manager_app.tasks.check_clients"]["schedule"] == QueueConfig().dead_after_s / 4
    assert process.RECORD_INTERVAL_S == model.RECORD_INTERVAL_S
    assert manager_link.REPORT_TIMEOUT_SECONDS == model.REPORT_TIMEOUT_S
    assert repair_round.CHANGES_AT_ONCE == model.CHANGES_AT_ONCE
    assert serving.DESCRIPTORS_MAX == model.DESCRIPTORS_MAX


@pytest.fixture
def tiny(db):
    """Store nine brokers with 90 partitions, in topics of 30."""
    cluster_ensure()
    size = ClusterSize(
        brokers=9, partitions=90, topic_partitions=30, clients=20, members=0, racks=3
    )
    make_rows(size)
    return size


def test_the_database_has_the_rows_of_the_size(tiny):
    assert Broker.objects.count() == tiny.brokers
    assert Partition.objects.count() == tiny.partitions
    assert Replica.objects.count() == tiny.replicas
    for broker in Broker.objects.all():
        assert broker.replicas.count() == tiny.replicas_per_broker
        assert broker.led_partitions.count() == tiny.led_per_broker
    assert not partitions_to_heal().exists()


def test_bytes_of_reports_and_answers_are_in_proportion_to_their_replicas(tiny):
    """Nothing in a report or its answer grows with anything but the replicas of the broker."""
    broker = Broker.objects.order_by("pk")[4]
    full = report_of(broker, 1_000)
    points = []
    for count in (10, 20, 30):
        report = msgspec.structs.replace(full, replicas=full.replicas[:count], full=False)
        points.append((count, len(msgspec.json.encode(report))))
    predicted = Line.through(points[0], points[1]).at(30)
    # Ids of two digits or of three.
    assert predicted == pytest.approx(points[2][1], rel=0.02)
    assert msgspec.json.decode(msgspec.json.encode(full), type=BrokerReport) == full
    orders = broker_report(full).orders
    assert len(orders.assignment) == tiny.replicas_per_broker
    assert len(orders.brokers) == tiny.brokers


def test_a_manager_asks_its_database_as_often_whatever_the_size(tiny):
    """What the model takes for linear is rows; no statement is repeated for each of them."""
    broker = Broker.objects.order_by("pk")[4]
    report = report_of(broker, 1_000)
    broker_report(report)
    sizes = {}
    for count in (10, 30):
        said = msgspec.structs.replace(report, replicas=report.replicas[:count], full=False)
        with CaptureQueriesContext(connection) as queries:
            broker_report(said)
            selectors.metadata_load()
            selectors.led_partitions()
            partitions_to_heal().count()
        sizes[count] = len(queries)
    assert sizes[10] == sizes[30]
