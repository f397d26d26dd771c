"""Redialling, and what happens to RPCs that a peer does not take."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from http_base.memory_budget import MemoryBudget
from raft_app.core.types import RequestVote, TimeoutNow
from raft_app.transport.frames import FrameKind, encode_frame
from raft_app.transport.protocol import TransportLimits, parse_address
from raft_app.transport.tcp.dialer import backoff_seconds
from raft_app.transport.tcp.transport import TcpTransport
from tests.raft_app.transport.transport_harness import (
    CLUSTER_ID,
    RUNNERS,
    SECRET,
    Broker,
    HandAcceptor,
    HandPeer,
    TcpNetwork,
    acceptor_handshake,
    append,
)

NEVER_MS = 3_600_000


@pytest.fixture(params=RUNNERS.values(), ids=RUNNERS)
def run(request):
    return request.param


def test_the_pause_grows_from_50_ms_to_a_second_and_is_jittered():
    limits = TransportLimits()
    highest = [backoff_seconds(n, limits, lambda _, high: high) for n in range(8)]
    assert highest == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0]
    assert {backoff_seconds(n, limits, lambda low, _: low) for n in range(100)} == {0.05}


async def accept(acceptor: HandAcceptor, broker_id: int = 2, **facts) -> HandPeer:
    peer = await acceptor.next_peer()
    await peer.handshake(acceptor_handshake(broker_id, **facts))
    return peer


def test_a_dial_that_fails_in_an_unexpected_way_is_not_the_last_one(run, monkeypatch, caplog):
    addresses = [RuntimeError("a bug")]

    def parse(address):
        if addresses:
            raise addresses.pop()
        return parse_address(address)

    async def scenario():
        network = TcpNetwork()
        one = await network.start(1)
        acceptor = await HandAcceptor().start()
        one.transport.set_peers({2: acceptor.address})
        peer = await accept(acceptor)
        await network.stop()
        await peer.until_closed()
        await acceptor.stop()

    monkeypatch.setattr("raft_app.transport.tcp.dialer.parse_address", parse)
    run(scenario())
    [record] = [record for record in caplog.records if "unexpected" in record.getMessage()]
    assert record.exc_info[0] is RuntimeError


def test_a_lost_connection_is_dialled_again(run):
    async def scenario():
        network = TcpNetwork()
        one = await network.start(1)
        acceptor = await HandAcceptor().start()
        one.transport.set_peers({2: acceptor.address})
        for count in range(1, 4):
            peer = await accept(acceptor)
            await peer.close()
            await one.handler.until_event("unreachable", 2, count=count)
        peer = await accept(acceptor)
        one.transport.send(2, [(7, TimeoutNow(2, 1, 3))])
        assert (await peer.read_frame()).kind is FrameKind.TIMEOUT_NOW
        await network.stop()
        await peer.until_closed()
        await acceptor.stop()

    run(scenario())


@pytest.mark.parametrize(
    ("facts", "reason"), [({"secret": b"wrong"}, "closed"), ({"cluster_id": "c2"}, "closed")]
)
def test_a_peer_of_another_cluster_gets_nothing(run, facts, reason):
    """It closes the connection; the dialer counts that and tries again."""

    async def scenario():
        stranger = Broker(
            TcpTransport(
                facts.get("cluster_id", CLUSTER_ID),
                2,
                facts.get("secret", SECRET),
                queues=MemoryBudget().queues,
            )
        )
        await stranger.transport.start(stranger.handler)
        network = TcpNetwork()
        one = await network.start(1)
        acceptor = await HandAcceptor().start()
        one.transport.set_peers({2: f"127.0.0.1:{stranger.transport.port}", 3: acceptor.address})
        one.transport.send(2, [(7, TimeoutNow(2, 1, 3))])
        peer = await accept(acceptor, 3)
        async with asyncio.timeout(20):
            while not one.counters.rejected_connections[reason]:
                one.transport.send(3, [(7, TimeoutNow(2, 1, 3))])
                await peer.read_frame()
        assert stranger.handler.events == stranger.handler.rpcs == []
        assert one.counters.dropped_control == 1
        await network.stop()
        await stranger.transport.stop()
        await peer.until_closed()
        await acceptor.stop()

    run(scenario())


def test_an_impostor_is_found_out_before_any_rpc_is_sent(run):
    async def scenario():
        network = TcpNetwork()
        one = await network.start(1)
        acceptor = await HandAcceptor().start()
        one.transport.set_peers({2: acceptor.address})
        one.transport.send(2, [(7, TimeoutNow(2, 1, 3))])
        peer = await acceptor.next_peer()
        impostor = acceptor_handshake(2)
        peer.writer.write(impostor.receive(await peer.read_frame()))
        assert (await peer.read_frame()).kind is FrameKind.PROOF
        guess = msgspec.msgpack.encode([bytes(32)])
        peer.writer.write(encode_frame(FrameKind.ACCEPTED, (guess,)).buffers[0])
        await peer.until_closed()
        assert one.counters.rejected_connections == {"secret": 1}
        assert peer.pending == []
        await network.stop()
        await acceptor.stop()

    run(scenario())


def test_another_broker_at_the_address_is_refused(run):
    async def scenario():
        network = TcpNetwork()
        one = await network.start(1)
        three = await network.start(3)
        one.transport.set_peers({2: three.address, 3: three.address})
        await network.meet(1, 3)
        async with asyncio.timeout(20):
            while not three.counters.rejected_connections["broker_id"]:
                await network.meet(1, 3)
        assert three.transport.connected_peers == {1}
        await network.stop()

    run(scenario())


def test_a_changed_address_is_dialled_at_once(run):
    limits = TransportLimits(reconnect_min_ms=NEVER_MS, reconnect_max_ms=NEVER_MS)

    async def scenario():
        network = TcpNetwork(limits)
        one = await network.start(1)
        gone = await HandAcceptor().start()
        await gone.stop()
        one.transport.set_peers({2: gone.address})
        one.transport.send(2, [(7, append(1, 10))])
        await one.handler.until_event("unreachable", 2)
        first, second = await HandAcceptor().start(), await HandAcceptor().start()
        one.transport.set_peers({2: first.address})
        peer = await accept(first)
        one.transport.set_peers({2: first.address})
        one.transport.send(2, [(7, TimeoutNow(2, 1, 3))])
        assert (await peer.read_frame()).kind is FrameKind.TIMEOUT_NOW
        one.transport.set_peers({2: second.address})
        await peer.until_closed()
        await one.handler.until_event("unreachable", 2, count=2)
        moved = await accept(second)
        await network.stop()
        await moved.until_closed()
        await first.stop()
        await second.stop()

    run(scenario())


def test_a_peer_that_dials_us_is_dialled_at_once(run):
    limits = TransportLimits(reconnect_min_ms=NEVER_MS, reconnect_max_ms=NEVER_MS)

    async def scenario():
        network = TcpNetwork(limits)
        one, two = await network.start_all(2)
        port = two.transport.port
        await two.transport.stop()
        await one.handler.until_event("unreachable", 2)
        two = Broker(
            TcpTransport(
                CLUSTER_ID, 2, SECRET, port=port, limits=limits, queues=MemoryBudget().queues
            )
        )
        await network.start_made(two)
        two.transport.set_peers({1: one.address})
        await network.meet(2, 1)
        await network.meet(1, 2)
        await network.stop()

    run(scenario())


async def accept_all_from(one: Broker, acceptor: HandAcceptor) -> HandPeer:
    """Accept as broker 2 and return once the dialer knows that it is accepted."""
    one.transport.set_peers({2: acceptor.address})
    peer = await accept(acceptor)
    one.transport.send(2, [(7, TimeoutNow(2, 1, 3))])
    await peer.read_frame()
    return peer


def _sizes() -> TransportLimits:
    return TransportLimits(
        max_frame_bytes=1 << 20,
        max_queued_append_bytes=2 << 20,
        max_queued_control_bytes=1 << 12,
        write_buffer_bytes=64 << 10,
    )


async def _overflow(one: Broker, count: int) -> int:
    """Send appends to a peer that does not read until some are dropped; return how many."""
    sent = 0
    async with asyncio.timeout(20):
        while one.handler.events.count(("unreachable", 2)) < count:
            one.transport.send(2, [(7, append(sent + 1, 64 << 10))])
            sent += 1
            await asyncio.sleep(0)
    return sent


def test_overflow_drops_appends_once_told_and_control_passes(run):
    async def scenario():
        network = TcpNetwork(_sizes())
        one = await network.start(1)
        acceptor = await HandAcceptor().start()
        peer = await accept_all_from(one, acceptor)
        for episode in (1, 2):
            before = one.counters.dropped_appends
            sent = await _overflow(one, episode)
            for index in range(10):
                one.transport.send(2, [(7, append(sent + index + 1, 64 << 10))])
            dropped = one.counters.dropped_appends - before
            assert dropped >= 11
            one.transport.send(2, [(7, RequestVote(2, 1, 3, 4, 5))])
            kept = sent + 10 - dropped
            kinds = [(await peer.read_frame()).kind for _ in range(kept + 1)]
            assert kinds.count(FrameKind.APPEND_ENTRIES) == kept
            # Everything that still was in the queue came after the vote.
            assert kinds.index(FrameKind.REQUEST_VOTE) <= kept - 25
            assert one.handler.events == [("unreachable", 2)] * episode
        await network.stop()
        await peer.until_closed()
        await acceptor.stop()

    run(scenario())


def test_control_has_a_bound_too(run):
    async def scenario():
        network = TcpNetwork(_sizes())
        one = await network.start(1)
        acceptor = await HandAcceptor().start()
        peer = await accept_all_from(one, acceptor)
        await _overflow(one, 1)
        one.transport.send(2, [(7, RequestVote(2, 1, 3, 4, 5))] * 200)
        assert 0 < one.counters.dropped_control < 200
        await network.stop()
        await peer.until_closed()
        await acceptor.stop()

    run(scenario())


def test_a_frame_that_the_peer_would_refuse_is_not_sent(run):
    async def scenario():
        network = TcpNetwork(_sizes())
        one, two = await network.start_all(2)
        one.transport.send(2, [(7, append(1, 1 << 20))])
        await one.handler.until_event("unreachable", 2)
        await network.meet(1, 2)
        assert two.handler.rpcs == []
        assert two.handler.events == [("connected", 1)]
        assert one.counters.dropped_appends == 1
        await network.stop()

    run(scenario())
