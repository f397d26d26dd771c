"""What a proven peer may send, and what costs it the connection."""

from __future__ import annotations

import asyncio
import os
import random
from itertools import pairwise

import pytest

from raft_app.core.types import TimeoutNow
from raft_app.transport.codec import encode_rpcs
from raft_app.transport.frames import PING_FRAME, FrameKind, encode_frame
from raft_app.transport.protocol import TransportLimits
from raft_app.transport.tcp import connection
from tests.raft_app.transport.transport_harness import (
    RUNNERS,
    HandAcceptor,
    HandPeer,
    TcpNetwork,
    acceptor_handshake,
    append,
    dialer_handshake,
)


@pytest.fixture(params=RUNNERS.values(), ids=RUNNERS)
def run(request):
    return request.param


def one_frame(rpc) -> bytes:
    control, appends = encode_rpcs([(7, rpc)])
    return b"".join((control + appends)[0].buffers)


async def connect(port: int, broker_id: int) -> HandPeer:
    peer = await HandPeer.dial(port)
    await peer.handshake(dialer_handshake(broker_id, 1))
    return peer


def send_now(peer: HandPeer, data: bytes) -> None:
    """Have the kernel take data from a peer before the loop has its next turn."""
    fd = peer.writer.get_extra_info("socket").fileno()
    while data:
        data = data[os.write(fd, data) :]


def _flipped(data: bytes) -> bytes:
    """Flip one bit behind the length."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - to repeat it
    bit = random.Random(seed).randrange(32, len(data) * 8)
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


BAD = {
    "flipped bit": (one_frame(append(1, 300)), {"checksum", "version", "kind"}),
    "oversize": ((1 << 30).to_bytes(4, "big") + bytes(40), {"oversize"}),
    "zeros": (bytes(40), {"checksum"}),
    "no RPC": (encode_frame(FrameKind.HELLO, (b"\x90",)).buffers[0], {"kind"}),
    "wrong body": (
        encode_frame(FrameKind.TIMEOUT_NOW, (b"\x92\x01\xff",), group_id=7, sender=1).buffers[0],
        {"body"},
    ),
    "trailing body": (
        encode_frame(FrameKind.TIMEOUT_NOW, (b"\x92\x01\x02\x00",), group_id=7, sender=1).buffers[
            0
        ],
        {"body"},
    ),
    "ping with body": (encode_frame(FrameKind.PING, (b"\xc0",)).buffers[0], {"body"}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_frame_closes_its_connection_and_no_other(run, name):
    data, reasons = BAD[name]
    if name == "flipped bit":
        data = _flipped(data)

    async def scenario():
        network = TcpNetwork()
        one, two = await network.start_all(2)
        bad = await connect(one.transport.port, 9)
        good_rpc = TimeoutNow(2, 1, 5)
        bad.writer.write(one_frame(good_rpc) + data + one_frame(good_rpc))
        await bad.until_closed()
        await one.handler.until_event("lost", 9)
        # What came whole before is heard, nothing after.
        assert one.handler.rpcs == [(9, 7, good_rpc)]
        assert set(one.counters.rejected_connections) <= reasons
        assert sum(one.counters.rejected_connections.values()) == 1
        two.transport.send(1, [(7, good_rpc)])
        await one.handler.until_rpcs(2)
        assert ("lost", 2) not in one.handler.events
        await network.stop()

    run(scenario())


def test_all_rpcs_of_one_piece_are_delivered_together(run):
    async def scenario():
        network = TcpNetwork()
        one = await network.start(1)
        pieces = []
        received = one.handler.rpcs_received
        one.handler.rpcs_received = lambda broker_id, rpcs: (
            pieces.append(len(rpcs)),
            received(broker_id, rpcs),
        )
        peer = await connect(one.transport.port, 2)
        peer.writer.write(one_frame(TimeoutNow(2, 1, 5)) * 50)
        await one.handler.until_rpcs(50)
        assert pieces == [50]
        await peer.close()
        await network.stop()

    run(scenario())


def test_what_waits_in_a_socket_is_taken_in_several_turns(run, monkeypatch):
    buffer_bytes, turn_bytes, count = 4 << 10, 8 << 10, 30
    monkeypatch.setattr(connection, "TURN_BYTES", turn_bytes)
    taken, indexes = [0], []

    async def scenario():
        network = TcpNetwork(TransportLimits(max_frame_bytes=buffer_bytes))
        one = await network.start(1)
        peer = await connect(one.transport.port, 2)
        await one.handler.until_event("connected", 2)
        before = one.counters.bytes_received
        sent = b"".join(one_frame(append(index, 2_000)) for index in range(1, count + 1))
        send_now(peer, sent)
        for _ in range(1_000):
            await asyncio.sleep(0)  # one turn of the loop
            taken.append(one.counters.bytes_received - before)
        indexes.extend(rpc.entries[0].index for _, _, rpc in one.handler.rpcs)
        await peer.close()
        await network.stop()

    run(scenario())
    assert max(after - before for before, after in pairwise(taken)) <= turn_bytes + buffer_bytes
    assert indexes == list(range(1, count + 1))


def test_an_idle_connection_carries_pings_and_they_keep_it_up(run):
    limits = TransportLimits(ping_interval_ms=20, silence_timeout_ms=400)

    async def scenario():
        network = TcpNetwork(limits)
        one = await network.start(1)
        acceptor = await HandAcceptor().start()
        one.transport.set_peers({2: acceptor.address})
        dialled = await acceptor.next_peer()
        await dialled.handshake(acceptor_handshake(2))
        incoming = await connect(one.transport.port, 2)
        loop = asyncio.get_running_loop()
        began = loop.time()
        pings = 0
        while loop.time() - began < 0.8:
            frame = await dialled.read_frame()
            assert frame.kind is FrameKind.PING
            pings += 1
            incoming.writer.write(PING_FRAME.buffers[0])
        assert pings >= 5
        incoming.writer.write(one_frame(TimeoutNow(1, 2, 3)))
        await one.handler.until_rpcs(1)
        assert one.handler.events == [("connected", 2)]
        await incoming.until_closed()  # now that it is silent
        await one.handler.until_event("lost", 2)
        assert one.counters.rejected_connections == {"silence": 1}
        await network.stop()
        await dialled.close()
        await acceptor.stop()

    run(scenario())


def test_the_side_that_was_dialled_may_send_nothing(run):
    async def scenario():
        network = TcpNetwork()
        one = await network.start(1)
        acceptor = await HandAcceptor().start()
        one.transport.set_peers({2: acceptor.address})
        dialled = await acceptor.next_peer()
        await dialled.handshake(acceptor_handshake(2))
        dialled.writer.write(one_frame(TimeoutNow(1, 2, 3)))
        await dialled.until_closed()
        await one.handler.until_event("unreachable", 2)
        assert one.counters.rejected_connections == {"unexpected_frame": 1}
        assert one.handler.rpcs == []
        await network.stop()
        await acceptor.stop()

    run(scenario())
