"""A broker that fell silent: what people and alerts see before and after it is dead."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.test import Client as Browser

from manager_app import periodic, runtime
from myqueue.contract.errors import DatabaseUnavailable
from tests.manager_app.apis.test_remembered import no_database


async def states(site):
    rows = (await site.get("/brokers?detail=1"))["brokers"]
    return {row["broker_id"]: row["state"] for row in rows}


async def pass_time(site, seconds, *, silent=()):
    """Let time pass in which all others show that they are there, and managers look."""
    for _ in range(seconds):
        site.clock.seconds += 1
        for twin in site.twins.brokers:
            if twin.broker_id not in silent:
                await twin.report(full=False)
    await site.in_database(periodic.check_brokers, site.runtime)
    await site.in_database(periodic.observe_brokers, site.runtime)


async def figures(site):
    text = (await site.send("GET", "/metrics")).body.decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#"]
    prefix = "queue_manager_brokers"
    return {name[len(prefix) :]: float(value) for name, value in lines if name.startswith(prefix)}


async def test_a_silent_broker_is_suspect_within_twenty_seconds_and_later_dead(site):
    await site.create_topic(partitions=3)
    await pass_time(site, 12, silent={2})
    assert set((await states(site)).values()) == {"alive"}
    await pass_time(site, 1, silent={2})
    assert await states(site) == {1: "alive", 2: "suspect", 3: "alive"}
    found = await figures(site)
    assert (found['{state="suspect"}'], found['{state="alive"}'], found["_silent"]) == (1, 2, 0)
    await pass_time(site, 48, silent={2})
    assert await states(site) == {1: "alive", 2: "dead", 3: "alive"}
    await pass_time(site, 30, silent={2})
    found = await figures(site)
    assert (found['{state="suspect"}'], found['{state="dead"}'], found["_silent"]) == (0, 1, 1)
    await pass_time(site, 1)
    assert set((await states(site)).values()) == {"alive"}
    assert (await figures(site))["_silent"] == 0


async def test_what_a_silent_broker_holds_is_degraded(site):
    await site.create_topic(partitions=2)
    await pass_time(site, 1)
    partitions = (await site.get("/topics/logs"))["partitions"]
    assert [partition["condition"] for partition in partitions] == ["healthy", "healthy"]
    await pass_time(site, 13, silent={3})
    partitions = (await site.get("/topics/logs"))["partitions"]
    assert [partition["condition"] for partition in partitions] == ["degraded", "degraded"]
    shown = {row["broker_id"]: row["broker_state"] for row in partitions[0]["replicas"]}
    assert shown == {1: "alive", 2: "alive", 3: "suspect"}


async def test_the_admin_shows_it_too(site):
    await site.create_topic(partitions=1)
    await pass_time(site, 13, silent={3})

    def look():
        person = get_user_model().objects.create_superuser("admin", "", "secret")
        browser = Browser()
        browser.force_login(person)
        brokers = browser.get("/admin/manager_app/broker/").content
        return brokers, browser.get("/admin/manager_app/partition/").content

    brokers, partitions = await site.in_database(look)
    assert b'data-label="state">suspect<' in brokers
    assert b'data-label="condition">degraded<' in partitions


async def test_nothing_moves_because_of_a_suspicion(site):
    await site.create_topic(partitions=2)
    await pass_time(site, 30, silent={2})
    await site.in_database(periodic.reconcile_placement, site.runtime)
    replicas = (await site.get("/topics/logs"))["partitions"][0]["replicas"]
    assert [row["state"] for row in replicas] == ["voter"] * 3


async def test_a_read_only_manager_sees_it_by_what_is_stored(site, monkeypatch):
    await site.create_topic(partitions=1)
    await site.restart_manager(read_only=True)
    await site.in_database(periodic.observe_brokers, site.runtime)
    site.clock.seconds += 13
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(runtime, "_installed", None)
        await site.in_database(_touch, (1, 3), site.clock.now())
    await site.in_database(periodic.observe_brokers, site.runtime)
    assert await states(site) == {1: "alive", 2: "suspect", 3: "alive"}
    assert await site.in_database(periodic.check_brokers, site.runtime) == []


def _touch(broker_ids, now):
    periodic.Broker.objects.filter(pk__in=broker_ids).update(last_heartbeat=now)


async def test_reports_that_the_database_cannot_take_are_signs_of_life_all_the_same(
    site, monkeypatch
):
    await site.create_topic(partitions=1)
    with no_database(monkeypatch):
        site.clock.seconds += 3_600
        for twin in site.twins.brokers:
            with pytest.raises(DatabaseUnavailable):
                await twin.report(full=False)
    assert await site.in_database(periodic.check_brokers, site.runtime) == []
    assert set((await states(site)).values()) == {"alive"}
