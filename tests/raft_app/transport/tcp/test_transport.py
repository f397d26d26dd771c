"""The TCP transport as a whole."""

from __future__ import annotations

import pytest

from http_base.memory_budget import MemoryBudget
from raft_app.core.types import Heartbeat, HeartbeatReply, TimeoutNow
from raft_app.transport.tcp.transport import TcpTransport
from tests.raft_app.transport.transport_harness import (
    CLUSTER_ID,
    RUNNERS,
    SECRET,
    Broker,
    HandAcceptor,
    HandPeer,
    RecordingHandler,
    TcpNetwork,
    acceptor_handshake,
    append,
)


@pytest.fixture(params=RUNNERS.values(), ids=RUNNERS)
def run(request):
    return request.param


def test_a_thousand_heartbeats_and_their_replies_are_two_frames(run):
    async def scenario():
        network = TcpNetwork()
        one, two = await network.start_all(2)
        sent, received = one.counters.frames_sent, two.counters.frames_received
        beats = [(group, Heartbeat(2, 1, 3, 4, 5)) for group in range(1, 1_001)]
        replies = [(group, HeartbeatReply(2, 1, 3, 5)) for group in range(1, 1_001)]
        one.transport.send(2, beats + replies)
        await two.handler.until_rpcs(2_000)
        assert one.counters.frames_sent == sent + 2
        assert two.counters.frames_received == received + 2
        assert [pair[1:] for pair in two.handler.rpcs] == beats + replies
        await network.stop()

    run(scenario())


def test_entries_of_a_mebibyte_arrive_unchanged(run):
    async def scenario():
        network = TcpNetwork()
        one, two = await network.start_all(2)
        sent = [(index, append(index, (1 << 20) + index)) for index in range(1, 31)]
        for pair in sent:
            one.transport.send(2, [pair])
        await two.handler.until_rpcs(len(sent))
        assert [pair[1:] for pair in two.handler.rpcs] == sent
        assert one.counters.dropped_appends == 0
        assert one.counters.bytes_sent > 30 << 20
        assert two.counters.bytes_received > 30 << 20
        await network.stop()

    run(scenario())


def test_two_brokers_are_joined_by_one_connection_in_each_direction(run):
    async def scenario():
        network = TcpNetwork()
        one, two = await network.start_all(2)
        for broker, other in ((one, 2), (two, 1)):
            assert broker.transport.connected_peers == {other}
            assert broker.counters.rejected_connections == {}
        await network.stop()
        assert one.transport.connected_peers == frozenset()

    run(scenario())


def test_a_taken_port_is_an_error_and_leaves_nothing_behind(run):
    async def scenario():
        network = TcpNetwork()
        one = await network.start(1)
        late = TcpTransport(
            CLUSTER_ID, 2, SECRET, port=one.transport.port, queues=MemoryBudget().queues
        )
        with pytest.raises(OSError, match="in use"):
            await late.start(RecordingHandler())
        await late.stop()
        await network.stop()

    run(scenario())


def test_it_stops_at_once_in_any_state_of_its_connections(run):
    """A dial refused, one unanswered, a handshake begun, strangers, queued appends."""

    async def scenario():
        network = TcpNetwork()
        one = await network.start(1)
        gone = await HandAcceptor().start()
        await gone.stop()
        silent, begun, full = [await HandAcceptor().start() for _ in range(3)]
        one.transport.set_peers(
            {2: gone.address, 3: silent.address, 4: begun.address, 5: full.address}
        )
        stranger = await HandPeer.dial(one.transport.port)
        handshaking = await begun.next_peer()
        answer = acceptor_handshake(4)
        handshaking.writer.write(answer.receive(await handshaking.read_frame()))
        stuffed = await full.next_peer()
        await stuffed.handshake(acceptor_handshake(5))
        for index in range(1, 20):
            one.transport.send(5, [(7, append(index, 1 << 20))])
        waiting = await silent.next_peer()
        await network.stop()
        for peer in (stranger, handshaking, stuffed, waiting):
            await peer.until_closed()
        for acceptor in (silent, begun, full):
            await acceptor.stop()

    run(scenario())


def test_it_can_be_stopped_right_after_peers_were_named(run):
    async def scenario():
        network = TcpNetwork()
        one, two = await network.start_all(2)
        acceptor = await HandAcceptor().start()
        one.transport.set_peers({2: two.address, 3: acceptor.address, 4: "localhost:1"})
        await network.stop()
        await acceptor.stop()

    run(scenario())


def test_a_secret_may_be_text(run):
    async def scenario():
        network = TcpNetwork()
        one = await network.start(1)
        two = Broker(TcpTransport(CLUSTER_ID, 2, SECRET.decode(), queues=MemoryBudget().queues))
        await network.start_made(two)
        two.transport.set_peers({1: one.address})
        two.transport.send(1, [(7, TimeoutNow(1, 2, 3))])
        await one.handler.until_rpcs(1)
        await network.stop()

    run(scenario())


def test_an_empty_secret_is_refused():
    with pytest.raises(ValueError, match="secret"):
        TcpTransport(CLUSTER_ID, 1, "", queues=MemoryBudget().queues)
