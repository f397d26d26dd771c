"""Links of the in-memory transport are cut and healed one direction at a time."""

from __future__ import annotations

import asyncio

import pytest

from raft_app.core.types import TimeoutNow
from tests.raft_app.transport.transport_harness import MemoryNetwork, append, run_asyncio


def rpc(number: int) -> tuple[int, TimeoutNow]:
    return (7, TimeoutNow(2, 1, number))


def test_a_cut_link_carries_nothing_and_the_other_direction_still_does():
    async def scenario():
        network = MemoryNetwork()
        one, two = await network.start_all(2)
        network.hub.cut(1, 2)
        await two.handler.until_event("lost", 1)
        await one.handler.until_event("unreachable", 2)
        one.transport.send(2, [rpc(1)])
        two.transport.send(1, [rpc(2)])
        await one.handler.until_rpcs(1)
        assert two.handler.rpcs == []
        assert one.handler.events == [("connected", 2), ("unreachable", 2)]
        assert two.handler.events == [("connected", 1), ("lost", 1)]
        assert one.counters.dropped_control == 1
        await network.stop()

    run_asyncio(scenario())


def test_what_was_under_way_when_the_link_was_cut_is_lost():
    async def scenario():
        network = MemoryNetwork()
        one, two = await network.start_all(2)
        one.transport.send(2, [rpc(1)])
        network.hub.cut(1, 2)
        network.hub.heal()
        one.transport.send(2, [rpc(2)])
        await two.handler.until_rpcs(1)
        assert two.handler.rpcs == [(1, *rpc(2))]
        assert two.handler.events == [("connected", 1), ("lost", 1), ("connected", 1)]
        await network.stop()

    run_asyncio(scenario())


def test_a_healed_link_is_a_new_connection():
    async def scenario():
        network = MemoryNetwork()
        _, two = await network.start_all(2)
        network.hub.cut(1, 2)
        await two.handler.until_event("lost", 1)
        network.hub.heal()
        await two.handler.until_event("connected", 1, count=2)
        await network.meet(1, 2)
        await network.stop()

    run_asyncio(scenario())


def test_a_silently_cut_link_loses_rpcs_and_tells_nobody():
    async def scenario():
        network = MemoryNetwork()
        one, two = await network.start_all(2)
        network.hub.cut(1, 2, silently=True)
        one.transport.send(2, [rpc(1), (7, append(1, 10))])
        two.transport.send(1, [rpc(2)])
        await one.handler.until_rpcs(1)
        network.hub.heal()
        one.transport.send(2, [rpc(3)])
        await two.handler.until_rpcs(1)
        assert two.handler.rpcs == [(1, *rpc(3))]
        assert one.handler.events == [("connected", 2)]
        assert two.handler.events == [("connected", 1)]
        await network.stop()

    run_asyncio(scenario())


@pytest.mark.parametrize("silently", [False, True])
def test_an_isolated_broker_reaches_nobody_and_the_others_do(silently):
    async def scenario():
        network = MemoryNetwork()
        brokers = await network.start_all(3)
        network.hub.isolate(3, silently=silently)
        for source in (1, 2, 3):
            for target in {1, 2, 3} - {source}:
                network.brokers[source].transport.send(target, [rpc(source)])
        await brokers[0].handler.until_rpcs(1)
        await brokers[1].handler.until_rpcs(1)
        assert [source for source, _, _ in brokers[0].handler.rpcs] == [2]
        assert [source for source, _, _ in brokers[1].handler.rpcs] == [1]
        assert brokers[2].handler.rpcs == []
        await network.stop()

    run_asyncio(scenario())


def test_a_cut_link_stays_cut_for_a_restarted_broker():
    async def scenario():
        network = MemoryNetwork()
        one, two = await network.start_all(2)
        network.hub.cut(1, 2)
        await two.transport.stop()
        two = await network.start(2)
        network.introduce()
        await network.meet(2, 1)
        one.transport.send(2, [rpc(1)])
        network.hub.heal()
        await network.meet(1, 2)
        assert two.handler.rpcs == []
        await network.stop()

    run_asyncio(scenario())


def test_each_send_is_one_delivery_in_a_later_turn():
    async def scenario():
        network = MemoryNetwork()
        one, two = await network.start_all(2)
        received = two.counters.frames_received
        one.transport.send(2, [rpc(1), rpc(2)])
        one.transport.send(2, [])  # a sign of life
        assert two.counters.frames_received == received
        await two.handler.until_rpcs(2)
        assert two.counters.frames_received == received + 2
        await network.stop()

    run_asyncio(scenario())


def test_two_brokers_with_one_id_are_refused():
    async def scenario():
        network = MemoryNetwork()
        await network.start(1)
        twin = network.make(1)
        with pytest.raises(AssertionError):
            await twin.transport.start(twin.handler)
        await network.stop()

    run_asyncio(scenario())


def test_the_order_of_events_repeats_exactly():
    def record() -> list:
        seen: list = []

        async def scenario():
            network = MemoryNetwork()
            brokers = await network.start_all(3)
            network.hub.isolate(2)
            for source in (3, 1, 2):
                network.brokers[source].transport.send(source % 3 + 1, [rpc(source)])
            network.hub.heal()
            await asyncio.gather(*(broker.handler.until_rpcs(0) for broker in brokers))
            await brokers[1].handler.until_event("connected", 1, count=2)
            seen.extend((broker.handler.events, broker.handler.rpcs) for broker in brokers)
            await network.stop()

        run_asyncio(scenario())
        return seen

    assert record() == record()
