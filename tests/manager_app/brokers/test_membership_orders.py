from __future__ import annotations

import asyncio

from http_base.cluster import ReplicaPlace, ReplicaTarget
from manager_app.brokers import membership_orders
from manager_app.brokers.membership_orders import DiscardOrder, MembershipOrder
from myqueue.contract.errors import StalePlacement

PATH = "/partitions/1/replicas"


def call(places, *, leader=1, group_id=1, version=2):
    target = ReplicaTarget(
        replicas=[ReplicaPlace(number, number) for number in places], epoch=1, version=version
    )
    return MembershipOrder(group_id, leader, 1, target)


async def test_a_leader_takes_its_target_and_confirms_its_members(site):
    await site.create_topic(partitions=1)
    answers = await site.runtime.membership_orders.ask_leaders([call([1, 2])])
    assert [place.replica_id for place in answers[1].replicas] == [1, 2]
    assert (answers[1].version, answers[1].learners) == (2, [])


async def test_who_refuses_is_unreachable_or_answers_nonsense_is_left_out(site):
    await site.create_topic(partitions=2)
    calls = site.runtime.membership_orders
    assert await calls.ask_leaders([call([1, 2], leader=2), call([1, 2], leader=99)]) == {}
    twin = site.twins.by_id(1)
    twin.refuses[PATH] = StalePlacement("a later one is in force")
    assert await calls.ask_leaders([call([1, 2])]) == {}
    del twin.refuses[PATH]
    twin.breaks[PATH] = "before"
    assert await calls.ask_leaders([call([1, 2])]) == {}
    await twin.stop()
    assert await calls.ask_leaders([call([1, 2])]) == {}
    await twin.start()
    assert await calls.ask_leaders([call([1, 2], group_id=99)]) == {}


async def test_a_broker_drops_only_what_its_group_is_without(site):
    await site.create_topic(partitions=1)
    calls = site.runtime.membership_orders
    assert await calls.discard([DiscardOrder(1, 3, 3)], epoch=1) == []
    await calls.ask_leaders([call([1, 2])])
    twin = site.twins.by_id(3)
    assert await calls.discard([DiscardOrder(1, 3, 3), DiscardOrder(1, 3, 99)], epoch=1) == [3]
    assert twin.replicas == {}
    assert twin.called("/partitions/1")[-1] == {"epoch": "1", "replica_id": "3"}
    assert await calls.discard([DiscardOrder(1, 3, 3)], epoch=1) == [3]


async def test_a_broker_that_hangs_holds_a_round_up_once(site, monkeypatch):
    await site.create_topic(partitions=1)
    monkeypatch.setattr(membership_orders, "CALL_TIMEOUT_S", 0.5)
    twin, calls = site.twins.by_id(1), site.runtime.membership_orders
    twin.offsets.silent |= {f"/partitions/{number}" for number in range(100, 300)}
    discards = [DiscardOrder(number, 1, 1) for number in range(100, 300)]
    async with asyncio.timeout(3):  # 200 calls, 16 at once, of half a second each
        assert await calls.discard([*discards, DiscardOrder(999, 1, 2)], epoch=1) == [1]
    assert sum(len(twin.called(f"/partitions/{one.group_id}")) for one in discards) <= 32
