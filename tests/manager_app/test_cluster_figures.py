"""What a manager shows in `GET /metrics` of the cluster, and what that costs."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from http_base.cluster import GroupStanding, GroupStandings
from manager_app import cluster_figures, runtime
from manager_app.cluster_figures import ClusterCounts, count_cluster, manager_families
from manager_app.groups.standings import overview_of
from manager_app.models import Broker, Partition, Replica
from myqueue.contract.errors import DatabaseUnavailable
from tests.manager_app.many_partitions import make_cluster


async def figures():
    return {
        (sample.name.removeprefix("queue_manager_"), " ".join(sample.labels.values())): sample.value
        for family in await manager_families()
        for sample in family.samples
    }


def standing(group, topic="logs", **facts):
    facts = {"is_workers": False, "partitions": 1, "lag": 0, "age_ms": 0} | facts
    return GroupStanding(group=group, topic=topic, **facts)


async def test_without_a_manager_there_are_no_figures(monkeypatch):
    monkeypatch.setattr(runtime, "_installed", None)
    assert await figures() == {}


async def test_a_silent_broker_shows_before_it_is_dead(site):
    await site.create_topic(partitions=3)
    for twin in site.twins.brokers:
        await twin.report()
    before = await figures()
    names = ("topics", "partitions", "partitions_leaderless", "partitions_under_replicated")
    assert [before[name, ""] for name in names] == [1, 3, 0, 0]
    assert (before["primary", ""], before["database_up", ""]) == (1, 1)
    assert 0 < before["lease_left_seconds", ""] <= 5
    assert (before["replicas", "running"], before["replicas", "faulty"]) == (9, 0)
    for _ in range(13):
        site.clock.seconds += 1
        for twin in site.twins.brokers[:2]:
            await twin.report(full=False)
    after = await figures()
    assert (after["report_age_seconds", "3"], after["report_age_seconds", "1"]) == (13, 0)
    assert after["partitions_under_replicated", ""] == 3
    led = sum(leader.broker_id == 3 for leader in site.runtime.metadata._leaders.values())
    assert after["partitions_leaderless", ""] == led == 1


async def test_without_its_database_a_manager_shows_what_it_has_in_memory(site, monkeypatch):
    async def away(*_):
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(site.runtime.database, "run", away)
        patched.setattr(site.runtime.metadata, "_is_away", True)
        shown = await figures()
    assert shown["database_up", ""] == 0
    assert ("report_age_seconds", "1") in shown
    assert ("partitions", "") not in shown


async def test_groups_show_what_they_have_left_in_messages_and_in_time(site, monkeypatch):
    monkeypatch.setattr(cluster_figures, "GROUPS_SHOWN_MAX", 2)
    told = [
        standing("a", lag=5, age_ms=1_500),
        standing("b", lag=700, age_ms=None, in_flight=3, dead=2),
        standing("c", lag=4, age_ms=90_000, dead=1),
        standing("c", "mails", lag=3, age_ms=2_000),
    ]
    site.runtime.standings.latest = overview_of({1: GroupStandings(standings=told)}, 0.0)
    shown = {key: value for key, value in (await figures()).items() if key[0].startswith("group_")}
    assert shown == {
        ("group_lag_messages", "a logs"): 5,
        ("group_lag_messages", "b logs"): 700,
        ("group_lag_messages", "other other"): 7,
        ("group_lag_seconds", "a logs"): 1.5,
        ("group_lag_seconds", "other other"): 90,
        ("group_in_flight_messages", "a logs"): 0,
        ("group_in_flight_messages", "b logs"): 3,
        ("group_in_flight_messages", "other other"): 0,
        ("group_dead_messages", "a logs"): 0,
        ("group_dead_messages", "b logs"): 2,
        ("group_dead_messages", "other other"): 1,
    }


@pytest.mark.django_db
def test_what_a_scrape_asks_of_the_database_does_not_grow_with_it():
    make_cluster(topics=3)
    with CaptureQueriesContext(connection) as asked:
        counts = count_cluster(suspects=())
    assert len(asked) == 4
    running = {"ordered": 0, "running": 90, "faulty": 0, "missing": 0}
    assert counts == ClusterCounts(3, 30, 0, 0, running)


@pytest.mark.django_db
def test_partitions_without_a_leader_or_with_too_few_sound_replicas_are_counted():
    make_cluster(topics=2)
    first, second, third, fourth, *_ = Partition.objects.all()
    Replica.objects.filter(pk=first.replicas.all()[0].pk).update(state="faulty")
    Replica.objects.filter(pk=second.replicas.all()[0].pk).update(suspicion="lost entries")
    Replica.objects.filter(pk=third.replicas.all()[0].pk).update(membership="learner")
    Partition.objects.filter(pk=fourth.pk).update(leader=None)
    counts = count_cluster(suspects=())
    assert (counts.leaderless, counts.under_replicated) == (1, 3)
    away = Broker.objects.all()[5]
    Broker.objects.filter(pk=away.pk).update(state="dead")
    led = Partition.objects.filter(leader=away).count()
    held = set(Replica.objects.filter(broker=away).values_list("partition", flat=True))
    counts = count_cluster(suspects=())
    assert counts.leaderless == 1 + led
    assert counts.under_replicated == len(held | {first.pk, second.pk, third.pk})
