from __future__ import annotations

import pytest

from manager_app.brokers import leaving
from manager_app.brokers.leaving import transfers_from
from manager_app.models import Broker
from manager_app.placement.rules import LedPartition
from myqueue.contract.errors import BrokerNotFound, ReadOnlyManager


async def test_a_broker_that_holds_nothing_is_removed_and_forgotten(site):
    assert 2 in site.runtime.metadata.current.brokers
    assert await site.in_database(leaving.drain, site.runtime, 2) == 0
    assert 2 not in site.runtime.metadata.current.brokers
    site.clock.seconds += site.runtime.suspect_after_s + 1
    assert 2 not in site.runtime.suspects()
    with pytest.raises(BrokerNotFound):
        await site.in_database(leaving.drain, site.runtime, 2)


async def test_a_drained_broker_can_be_kept(site):
    await site.create_topic(partitions=1)
    await site.twins.add(1)
    await site.twins.brokers[-1].report()
    assert await site.in_database(leaving.drain, site.runtime, 1) == 1
    assert site.runtime.metadata.current.brokers[1].draining
    kept = await site.in_database(leaving.keep, site.runtime, 1)
    assert (kept.broker_id, kept.draining) == (1, False)
    assert not site.runtime.metadata.current.brokers[1].draining


async def test_a_reader_changes_nothing(site):
    await site.restart_manager(read_only=True)
    for change in (leaving.drain, leaving.keep):
        with pytest.raises(ReadOnlyManager):
            await site.in_database(change, site.runtime, 1)
    assert await site.in_database(Broker.objects.count) == 3


def test_leaderships_go_to_whoever_leads_least():
    partitions = [LedPartition(number, 1, (1, 2, 3)) for number in range(1, 5)]
    partitions += [LedPartition(9, 3, (1, 3)), LedPartition(10, 1, (1, 4))]
    found = transfers_from(1, partitions, {2, 3})
    assert [(one.group_id, one.target) for one in found] == [(1, 2), (2, 2), (3, 3), (4, 2)]
    assert all(one.source == 1 for one in found)
    assert transfers_from(1, partitions, set()) == []


async def test_a_broker_hands_over_what_it_leads(site):
    await site.create_topic(partitions=3)
    for twin in site.twins.brokers:
        await twin.report()
    led = sum(group.leader == 1 for group in site.twins.groups.values())
    assert led
    agreed, of = await site.in_database(leaving.hand_over, site.runtime, 1)
    assert (agreed, of) == (led, led)
    assert not any(group.leader == 1 for group in site.twins.groups.values())
    with pytest.raises(BrokerNotFound):
        await site.in_database(leaving.hand_over, site.runtime, 99)
