from __future__ import annotations

import asyncio

from http_base.cluster import DeletedPartition, ReplicaOrder, ReplicaPlace
from manager_app.brokers import orders
from manager_app.placement.rules import Transfer
from myqueue.contract.errors import Overloaded


def order(group_id, *brokers):
    return ReplicaOrder(
        group_id=group_id,
        replica_id=group_id,
        topic="logs",
        partition=group_id,
        bootstrap=True,
        replicas=[ReplicaPlace(broker, broker) for broker in brokers],
        epoch=1,
        version=1,
    )


async def test_the_replica_that_campaigns_is_ordered_after_its_voters(site):
    arrived = []
    for twin in site.twins.brokers:
        take = twin._take
        twin._take = lambda order, twin=twin, take=take: (
            arrived.append((order.group_id, order.replicas[0].broker_id == twin.broker_id)),
            take(order),
        )
    await site.create_topic(partitions=3)
    assert len(arrived) == 9
    assert all(dict(arrived).values())


async def test_orders_that_are_not_taken_are_counted_and_hold_up_no_other(site):
    site.twins.elects = False
    site.twins.brokers[0].refuses["/partitions"] = Overloaded()
    await site.twins.brokers[1].stop()
    orders = {broker: [order(1, 1, 2, 3), order(2, 3, 2, 1)] for broker in (1, 2, 3, 99)}
    assert await site.runtime.orders.place_replicas(orders) == 6
    assert sorted(site.twins.brokers[2].replicas) == [1, 2]


async def test_a_leader_that_refuses_keeps_its_leadership(site):
    await site.create_topic(partitions=1)
    hand_over = site.runtime.orders.hand_over
    assert not await hand_over(Transfer(1, 2, 3), epoch=1)
    assert await hand_over(Transfer(1, 1, 3), epoch=1)
    assert site.twins.groups[1].leader == 3
    await site.twins.reported()


async def test_waiting_for_leaders_names_those_that_are_missing(site):
    await site.create_topic(partitions=2)
    assert await site.runtime.orders.wait_for_leaders("logs", 0.01) == []
    group = site.twins.group("logs", 1)
    leader, group.leader, group.term = site.twins.by_id(group.leader), 0, 2
    await leader.report(full=False, groups=[group])
    assert await site.runtime.orders.wait_for_leaders("logs", 0.01) == [1]


async def test_brokers_that_do_not_answer_are_left_out_of_the_live_reports(site):
    await site.create_topic(partitions=1)
    await site.twins.brokers[1].stop()
    site.twins.brokers[2].refuses["/partitions"] = Overloaded()
    reports = await site.runtime.orders.ask_replicas(site.runtime.metadata.topic("logs"))
    assert list(reports) == [(1, 1)]


async def test_a_broker_that_hangs_holds_orders_up_once(site, monkeypatch):
    monkeypatch.setattr(orders, "ORDER_TIMEOUT_S", 0.5)
    twin = site.twins.by_id(1)
    dropped = [
        DeletedPartition(group_id=number, topic="logs", partition=number)
        for number in range(100, 300)
    ]
    twin.offsets.silent |= {f"/partitions/{one.group_id}" for one in dropped}
    async with asyncio.timeout(3):  # 200 calls, 16 at once, of half a second each
        drops = {1: dropped, 2: dropped[:1]}
        assert await site.runtime.orders.drop_groups(drops, epoch=1) == len(dropped)
    assert sum(len(twin.called(f"/partitions/{one.group_id}")) for one in dropped) <= 32
