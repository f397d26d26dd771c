"""The site of the manager's tests: what it does in a quicker way comes to the same."""

from __future__ import annotations

from dataclasses import replace

from asgiref.sync import sync_to_async

from manager_app.models import Broker


async def known_of(site, twin):
    """Return what the manager has of a broker, stored and in memory, without what is its own."""
    row = await sync_to_async(Broker.objects.values().get)(incarnation=twin.incarnation)
    assert (row.pop("broker_id"), row.pop("incarnation")) == (twin.broker_id, twin.incarnation)
    assert (row.pop("address"), row.pop("raft_address")) == (twin.address, twin.raft_address)
    assert row.pop("last_heartbeat")
    assert row.pop("created_at")
    seen = site.runtime.broker_heartbeats.last_seen_s(twin.broker_id)
    told = site.runtime.metadata.current.brokers[twin.broker_id]
    assert (told.address, told.raft_address) == (twin.address, twin.raft_address)
    own = {"broker_id": 0, "address": "", "raft_address": ""}
    return row, seen, replace(told, **own)


async def test_brokers_of_a_site_are_known_as_after_their_first_reports(empty_site):
    await empty_site.twins.add(2)
    reporting, stored = empty_site.twins.brokers
    await reporting.report()
    await empty_site.in_database(empty_site.store_brokers, [stored])
    known = await known_of(empty_site, reporting)
    assert await known_of(empty_site, stored) == known
    orders = await stored.report()
    assert (orders.broker_id, orders.assignment) == (stored.broker_id, [])
    assert await known_of(empty_site, stored) == known
