from __future__ import annotations

from collections import Counter
from functools import partial

import pytest

from manager_app import periodic
from manager_app.models import Replica
from manager_app.placement import balance_round
from tests.manager_app.broker_twin import BrokerTwin
from tests.manager_app.writing import change

PARTITIONS = 8
ENOUGH_ROUNDS = 12


async def report_all(site):
    for twin in site.twins.brokers:
        if twin.is_up:
            await twin.report()


async def rounds(site, count=ENOUGH_ROUNDS):
    for _ in range(count):
        await site.in_database(periodic.reconcile_placement, site.runtime)
        await report_all(site)


@pytest.fixture
async def grown(site):
    """Eight partitions on three brokers, and a fourth broker that holds nothing."""
    await site.create_topic(partitions=PARTITIONS)
    await report_all(site)
    await site.twins.add(1)
    await site.twins.brokers[-1].report()
    return site


async def held(site):
    """Return how many replicas each broker is to hold."""

    def read():
        return Counter(Replica.objects.filter(leaving=False).values_list("broker_id", flat=True))

    return await site.in_database(read)


async def test_a_new_broker_gets_its_share(grown):
    plan = await grown.get("/rebalance")
    assert (plan["state"], plan["moves_left"], plan["running"]) == ("on", 6, [])
    assert {move["target"] for move in plan["plan"]} == {4}
    await rounds(grown)
    assert await held(grown) == dict.fromkeys((1, 2, 3, 4), 6)
    done = await grown.get("/rebalance")
    assert (done["moves_left"], done["plan"], done["running"], done["repairs"]) == (0, [], [], 0)
    for partition in (await grown.get("/topics/logs"))["partitions"]:
        assert partition["condition"] == "healthy"
        assert len(partition["replicas"]) == 3


async def test_nothing_moves_while_it_is_paused(grown):
    answer = await grown.post("/rebalance", {"paused": True})
    assert (answer["state"], answer["moves_left"]) == ("paused", 6)
    await rounds(grown, 3)
    assert 4 not in await held(grown)
    assert (await grown.post("/rebalance", {}))["state"] == "on"
    await rounds(grown)
    assert (await held(grown))[4] == 6


async def test_moves_are_no_faster_than_allowed(grown):
    answer = await grown.post("/rebalance", {"bytes_per_second": 1_024})
    assert answer["bytes_per_second"] == 1_024
    await grown.in_database(lambda: change(Replica.objects.all(), size_bytes=1 << 20))
    await grown.in_database(balance_round.begin_moves, grown.runtime)
    (running,) = (await grown.get("/rebalance"))["running"]
    assert (running["target"], running["size_bytes"], running["copied_bytes"]) == (4, 1 << 20, 0)
    await grown.in_database(balance_round.begin_moves, grown.runtime)
    await rounds(grown, 3)
    assert (await held(grown))[4] == 1
    seconds = (await grown.get("/rebalance"))["seconds_left"]
    assert seconds == pytest.approx((await grown.get("/rebalance"))["bytes_left"] / 1_024)


async def test_a_cancelled_move_goes_back_to_where_it_was(grown):
    begun = await grown.in_database(balance_round.begin_moves, grown.runtime)
    assert begun == 6
    answer = await grown.ask("DELETE", "/rebalance")
    assert (answer["state"], answer["running"]) == ("off", [])
    await rounds(grown)
    assert await held(grown) == dict.fromkeys((1, 2, 3), 8)
    assert grown.twins.by_id(4).replicas == {}
    for partition in (await grown.get("/topics/logs"))["partitions"]:
        assert partition["condition"] == "healthy"


async def test_a_repair_goes_first(grown):
    faulty = grown.twins.by_id(3)
    faulty.membership.faults[1] = "checksum of entry 7"
    await faulty.report()
    assert (await grown.get("/rebalance"))["repairs"] == 1
    assert await grown.in_database(balance_round.begin_moves, grown.runtime) == 0
    await rounds(grown)
    assert sorted((await held(grown)).values()) == [6, 6, 6, 6]


async def test_nothing_moves_to_a_broker_without_room_nor_from_one_that_is_emptied(grown):
    full = grown.twins.brokers[-1]
    full.report = partial(BrokerTwin.report, full, disk_free_bytes=1)
    await full.report()
    await rounds(grown, 3)
    assert 4 not in await held(grown)
    assert (await grown.get("/rebalance"))["moves_left"] == 0


async def test_two_replicas_in_a_rack_part_when_there_is_another_rack(site):
    for twin, rack in zip(site.twins.brokers, ("a", "a", "b"), strict=True):
        twin.report = partial(BrokerTwin.report, twin, rack=rack)
    await report_all(site)
    await site.create_topic(partitions=2)
    await report_all(site)
    await rounds(site, 3)
    assert await held(site) == {1: 2, 2: 2, 3: 2}
    await site.twins.add(1)
    new = site.twins.brokers[-1]
    new.report = partial(BrokerTwin.report, new, rack="c")
    await rounds(site)
    assert (await held(site))[4] == 2
    details = (await site.get("/brokers?detail=1"))["brokers"]
    assert [broker["rack"] for broker in details] == ["a", "a", "b", "c"]
