"""What every transport promises, over TCP and in memory, on both event loops."""

from __future__ import annotations

import pytest

from raft_app.core.types import Heartbeat, TimeoutNow
from raft_app.transport.protocol import TransportLimits, parse_address
from tests.raft_app.transport.transport_harness import (
    EVERY_RPC,
    RUNNERS,
    MemoryNetwork,
    TcpNetwork,
    append,
)


@pytest.fixture(params=RUNNERS.values(), ids=RUNNERS)
def run(request):
    return request.param


@pytest.fixture(params=[TcpNetwork, MemoryNetwork])
def make_network(request):
    return request.param


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("broker-1:9000", ("broker-1", 9000)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(address, parts):
    assert parse_address(address) == parts


@pytest.mark.parametrize(
    "address", ["", "host", "host:", ":9", "::1:9", "host:0", "host:65536", "host:-1", "host:x"]
)
def test_anything_else_is_no_address(address):
    with pytest.raises(ValueError, match=r"port|brackets"):
        parse_address(address)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_frame_bytes": 0},
        {"reconnect_min_ms": 2_000},
        {"silence_timeout_ms": 3_999},
        {"max_queued_append_bytes": 1 << 20},
    ],
)
def test_limits_that_contradict_each_other_refuse_to_exist(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TransportLimits(**wrong)


def test_the_queues_to_one_peer_hold_64_mib():
    limits = TransportLimits()
    assert limits.max_queued_append_bytes + limits.max_queued_control_bytes == 64 << 20


def test_every_rpc_arrives_with_its_group_and_its_sender(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start_all(2)
        sent = [(group, rpc) for group, rpc in enumerate(EVERY_RPC, 1)]
        one.transport.send(2, sent)
        await two.handler.until_rpcs(len(sent))
        key = repr
        assert sorted(two.handler.rpcs, key=key) == sorted([(1, *pair) for pair in sent], key=key)
        assert one.handler.rpcs == []
        await network.stop()

    run(scenario())


def test_rpcs_of_one_kind_keep_their_order(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start_all(2)
        for index in range(1, 201):
            one.transport.send(2, [(1, append(index, 5_000)), (1, TimeoutNow(2, 1, index))])
        await two.handler.until_rpcs(400)
        got = [rpc for _, _, rpc in two.handler.rpcs]
        assert [r.term for r in got if isinstance(r, TimeoutNow)] == list(range(1, 201))
        assert [r.prev_index for r in got if not isinstance(r, TimeoutNow)] == list(range(200))
        await network.stop()

    run(scenario())


def test_three_brokers_reach_each_other(run, make_network):
    async def scenario():
        network = make_network()
        brokers = await network.start_all(3)
        for broker_id, broker in network.brokers.items():
            others = {1, 2, 3} - {broker_id}
            assert sorted(broker.handler.events) == [("connected", other) for other in others]
        assert all(broker.handler.rpcs == [] for broker in brokers)
        await network.stop()

    run(scenario())


def test_an_rpc_sent_before_the_connection_is_up_arrives(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start(1), await network.start(2)
        one.transport.set_peers({2: two.address})
        one.transport.send(2, [(7, TimeoutNow(2, 1, 3))])
        await two.handler.until_rpcs(1)
        assert two.handler.events == [("connected", 1)]
        await network.stop()

    run(scenario())


def test_the_loss_of_a_broker_is_told_in_both_directions(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start_all(2)
        await two.transport.stop()
        await one.handler.until_event("lost", 2)
        await one.handler.until_event("unreachable", 2)
        assert two.handler.events == [("connected", 1)]
        await network.stop()

    run(scenario())


def test_a_restarted_broker_is_connected_again(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start_all(2)
        await two.transport.stop()
        await one.handler.until_event("lost", 2)
        two = await network.start(2)
        network.introduce()
        await network.meet(1, 2)
        await network.meet(2, 1)
        told = [event for event in one.handler.events if event[0] != "unreachable"]
        assert told == [("connected", 2), ("lost", 2), ("connected", 2)]
        await network.stop()

    run(scenario())


def test_a_peer_that_is_no_longer_named_is_disconnected(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start_all(2)
        one.transport.set_peers({})
        await two.handler.until_event("lost", 1)
        one.transport.send(2, [(7, TimeoutNow(2, 1, 3)), (7, append(1, 10))])
        network.introduce()
        await network.meet(1, 2)
        assert two.handler.rpcs == []
        assert one.handler.events == [("connected", 2)]
        await network.stop()

    run(scenario())


def test_a_bad_address_changes_nothing(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start_all(2)
        with pytest.raises(ValueError, match="nowhere"):
            one.transport.set_peers({3: "127.0.0.1:1", 2: "nowhere"})
        one.transport.send(2, [(7, TimeoutNow(2, 1, 3))])
        await two.handler.until_rpcs(1)
        assert two.handler.events == [("connected", 1)]
        await network.stop()

    run(scenario())


def test_the_own_broker_id_is_passed_over(run, make_network):
    async def scenario():
        network = make_network()
        one, _ = await network.start_all(2)
        one.transport.send(1, [(7, TimeoutNow(2, 1, 3))])
        one.transport.send(3, [(7, TimeoutNow(2, 1, 3))])
        await network.meet(1, 2)
        assert one.handler.rpcs == []
        assert one.handler.events == [("connected", 2)]
        await network.stop()

    run(scenario())


def test_peers_may_be_named_before_the_start(run, make_network):
    async def scenario():
        network = make_network()
        one = await network.start(1)
        two = network.make(2)
        two.transport.set_peers({1: one.address})
        await network.start_made(two)
        two.transport.send(1, [(7, TimeoutNow(1, 2, 3))])
        await one.handler.until_rpcs(1)
        await network.stop()

    run(scenario())


def test_appends_without_a_connection_are_dropped_and_told_once(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start(1), await network.start(2)
        await two.transport.stop()
        one.transport.set_peers({2: two.address})
        for index in range(1, 4):
            one.transport.send(2, [(7, append(index, 10)), (7, Heartbeat(2, 1, 1, 0))])
        assert one.handler.events == []
        await one.handler.until_event("unreachable", 2)
        one.transport.send(2, [(7, append(4, 10))])
        assert one.handler.events == [("unreachable", 2)]
        assert one.counters.dropped_appends == 4
        assert one.counters.dropped_control == 3
        await network.stop()

    run(scenario())


def test_the_handler_is_not_called_from_inside_send_or_set_peers(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start_all(2)
        before = list(one.handler.events), list(two.handler.events)
        one.transport.send(2, [(7, TimeoutNow(2, 1, 3))])
        assert two.handler.rpcs == []
        one.transport.set_peers({2: "127.0.0.1:9"})
        one.transport.send(2, [(7, append(1, 10))])
        assert (one.handler.events, two.handler.events) == before
        await one.handler.until_event("unreachable", 2)
        await network.stop()

    run(scenario())


def test_nothing_is_told_and_nothing_sent_after_the_stop(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start_all(2)
        events = list(one.handler.events)
        one.transport.send(2, [(7, append(1, 10))])
        await one.transport.stop()
        one.transport.send(2, [(7, append(2, 10))])
        one.transport.set_peers({2: two.address})
        await one.transport.stop()
        await two.handler.until_event("lost", 1)
        await two.transport.stop()
        assert one.handler.events == events

    run(scenario())


def test_a_transport_that_was_never_started_can_be_stopped(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start_all(2)
        fresh = network.make(3)
        fresh.transport.set_peers({2: two.address})
        fresh.transport.send(2, [(7, TimeoutNow(2, 3, 3))])
        await fresh.transport.stop()
        assert one.handler.rpcs == two.handler.rpcs == []
        await network.stop()

    run(scenario())
