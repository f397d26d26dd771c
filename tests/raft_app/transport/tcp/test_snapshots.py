"""Snapshot connections over TCP that are refused or broken."""

from __future__ import annotations

import asyncio

import pytest

from raft_app.transport.frames import PING_FRAME
from raft_app.transport.protocol import TransportLimits
from raft_app.transport.snapshot_stream import SnapshotAnswer, SnapshotLost
from tests.raft_app.transport.test_snapshot_stream import OFFER, opened, rows
from tests.raft_app.transport.transport_harness import (
    RUNNERS,
    HandAcceptor,
    TcpNetwork,
    run_asyncio,
)


@pytest.fixture(params=RUNNERS.values(), ids=RUNNERS)
def run(request):
    return request.param


def test_too_many_snapshots_at_once_are_refused():
    async def scenario():
        network = TcpNetwork(TransportLimits(max_snapshot_connections=1))
        here, _ = await opened(network)
        one, two = network.brokers.values()
        second = await one.transport.open_snapshot(2)
        with pytest.raises(SnapshotLost):
            await second.receive()
        assert two.counters.rejected_connections == {"crowded": 1}
        here.close()
        await network.stop()

    run_asyncio(scenario())


def test_a_frame_that_is_no_part_of_a_snapshot_ends_the_connection():
    async def scenario():
        network = TcpNetwork()
        here, there = await opened(network)
        here._connection.write((PING_FRAME,))
        with pytest.raises(SnapshotLost):
            await there.receive()
        assert network.brokers[2].counters.rejected_connections == {"unexpected_frame": 1}
        await network.stop()

    run_asyncio(scenario())


def test_a_peer_that_does_not_shake_hands_is_given_up(run):
    async def scenario():
        network = TcpNetwork(TransportLimits(handshake_timeout_ms=50))
        one = await network.start(1)
        acceptor = await HandAcceptor().start()
        one.transport.set_peers({2: acceptor.address})
        with pytest.raises(SnapshotLost, match=r"timeout|handshake"):
            await one.transport.open_snapshot(2)
        await network.stop()
        await acceptor.stop()

    run(scenario())


def test_another_broker_than_the_wanted_one_is_refused(run):
    async def scenario():
        network = TcpNetwork()
        one, three = await network.start(1), await network.start(3)
        one.transport.set_peers({2: three.address})
        with pytest.raises(SnapshotLost):
            await one.transport.open_snapshot(2)
        assert three.handler.streams == []
        await network.stop()

    run(scenario())


def test_what_is_half_way_ends_with_the_transport(run):
    async def scenario():
        network = TcpNetwork()
        one = await network.start(1)
        acceptor = await HandAcceptor().start()
        one.transport.set_peers({2: acceptor.address})
        opening = asyncio.ensure_future(one.transport.open_snapshot(2))
        peers = [await acceptor.next_peer() for _ in range(2)]
        await one.transport.stop()
        with pytest.raises(SnapshotLost):
            await opening
        for peer in peers:
            await peer.close()
        await acceptor.stop()

    run(scenario())


def test_close_gives_up_on_a_peer_that_reads_nothing(run):
    async def send_on(stream):
        while True:
            await stream.send(rows(1, 300_000))

    async def scenario():
        network = TcpNetwork(TransportLimits(handshake_timeout_ms=500))
        here, _ = await opened(network)
        sending = asyncio.ensure_future(send_on(here))
        await asyncio.sleep(0.2)
        here.close()
        with pytest.raises(SnapshotLost):
            await sending
        await network.stop()

    run(scenario())


def test_both_ends_may_send_at_once(run):
    async def scenario():
        network = TcpNetwork()
        here, there = await opened(network)
        await there.send(SnapshotAnswer(True, 5))
        await here.send(OFFER)
        assert await here.receive() == SnapshotAnswer(True, 5)
        assert await there.receive() == OFFER
        there.close()
        await network.stop()

    run(scenario())
