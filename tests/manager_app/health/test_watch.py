"""What a manager sees: of brokers that answer, that do not, that count."""

from __future__ import annotations

from http_base.cluster import BrokerStanding, TopicTraffic
from manager_app.health.watch import Watch
from manager_app.models import Cluster


def of_its_own(site):
    """Return a watch that nobody but the test lets look."""
    return Watch(site.runtime.watch.sources)


def broker_of(watch, broker_id):
    return next(one for one in watch.facts.brokers if one.broker_id == broker_id)


async def look_again(site, watch, seconds=5.0):
    site.clock.seconds += seconds
    for twin in site.twins.brokers:
        if twin.is_up:
            site.runtime.broker_heartbeats.beat(twin.broker_id, site.clock.monotonic_s())
    await watch.look()


async def test_brokers_are_seen_as_they_tell_and_as_the_database_knows(site):
    await site.create_topic(partitions=2)
    watch = of_its_own(site)
    site.twins.by_id(2).standing = BrokerStanding(
        version="9", uptime_s=77.0, stored_bytes=5, disk_free_bytes=1, disk_reserve_bytes=2
    )
    await watch.look()
    seen = broker_of(watch, 2)
    assert (seen.version, seen.uptime_s, seen.stored_bytes) == ("9", 77.0, 5)
    assert seen.answers
    assert (seen.replicas, watch.facts.topics, watch.facts.partitions) == (2, 1, 2)
    assert [one.key for one in watch.problems] == ["broker 2 disk", "versions"]


async def test_a_broker_that_went_down_is_a_problem_by_name_until_it_is_back(site):
    watch = of_its_own(site)
    await watch.look()
    assert watch.problems == []
    twin = site.twins.by_id(3)
    await twin.stop()
    await look_again(site, watch)
    assert watch.problems == []
    await look_again(site, watch)
    [problem] = watch.problems
    assert problem.text == "Broker 3 does not answer."
    assert problem.age_s == 10.0
    assert not broker_of(watch, 3).answers
    await twin.start()
    await look_again(site, watch)
    assert watch.problems == []


async def test_how_long_a_problem_has_been_there_is_told(site):
    watch = of_its_own(site)
    site.twins.by_id(1).standing = BrokerStanding(disk_slow=True)
    await watch.look()
    await look_again(site, watch)
    await look_again(site, watch)
    [problem] = watch.problems
    assert (problem.key, problem.age_s) == ("broker 1 slow", 10.0)


async def test_what_brokers_count_becomes_histories(site):
    watch = of_its_own(site)
    await watch.look()
    for broker_id in (1, 2):
        site.twins.by_id(broker_id).standing = BrokerStanding(
            uptime_s=6.0,
            traffic={"logs": TopicTraffic(messages_produced=50, fetched_bytes=500)},
            produce_bounds_s=[0.01, 0.02],
            produce_counts=[10, 10, 10],
            sync_bounds_s=[0.002, 0.004, 0.1],
            sync_counts=[90, 98, 100, 100],
            ticks=100,
            ticks_late=10,
        )
    await look_again(site, watch)
    now_s = site.clock.monotonic_s()
    histories = watch.histories
    assert histories.latest(("cluster", "", "messages_in"), now_s) == 20.0
    assert histories.latest(("topic", "logs", "bytes_out"), now_s) == 200.0
    assert histories.latest(("broker", 1, "messages_in"), now_s) == 10.0
    assert histories.latest(("broker", 3, "messages_in"), now_s) == 0.0
    assert round(histories.latest(("cluster", "", "latency_p50"), now_s), 4) == 0.005
    assert watch.flows["logs"].messages_in == 20.0
    seen = broker_of(watch, 1)
    assert round(seen.ticks_late_share, 4) == 0.1
    assert 0 < seen.sync_p50_s < 0.002
    assert 0.004 < seen.sync_p99_s < 0.1
    assert broker_of(watch, 3).sync_p50_s is None
    assert histories.latest(("broker", 1, "sync_p99"), now_s) == seen.sync_p99_s
    assert [one.key for one in watch.problems] == ["broker 1 ticks", "broker 2 ticks"]


async def test_the_lag_of_groups_is_kept(site):
    watch = of_its_own(site)
    await watch.look()
    assert watch.facts.groups == ()
    assert watch.histories.latest(("cluster", "", "lag"), site.clock.monotonic_s()) == 0.0


async def test_a_change_of_the_lease_is_seen(site):
    watch = of_its_own(site)
    await watch.look()
    assert watch.facts.lease_age_s is None

    def raise_epoch():
        Cluster.objects.update(epoch=9)
        site.runtime.metadata.refresh()

    await site.in_database(raise_epoch)
    await look_again(site, watch)
    await look_again(site, watch)
    assert watch.facts.lease_age_s == 5.0
    assert [one.key for one in watch.problems] == ["lease 9"]


async def test_a_removed_broker_is_forgotten(site):
    watch = of_its_own(site)
    await watch.look()
    assert set(watch.told) == {1, 2, 3}
    await site.ask("DELETE", "/brokers/3", status=202)
    await look_again(site, watch)
    assert set(watch.told) == {1, 2}
    assert [one.broker_id for one in watch.facts.brokers] == [1, 2]
