"""Who may connect: one authenticated connection per peer, few strangers, no garbage."""

from __future__ import annotations

import asyncio
import random

import pytest

from http_base.memory_budget import MemoryBudget
from raft_app.core.types import TimeoutNow
from raft_app.transport.codec import encode_rpcs
from raft_app.transport.frames import FrameKind, encode_frame
from raft_app.transport.handshake import Identity
from raft_app.transport.protocol import TransportLimits
from raft_app.transport.tcp.connection import TcpContext
from raft_app.transport.tcp.listener import Listener
from tests.raft_app.transport.transport_harness import (
    CLUSTER_ID,
    RUNNERS,
    SECRET,
    HandPeer,
    RecordingHandler,
    dialer_handshake,
)


@pytest.fixture(params=RUNNERS.values(), ids=RUNNERS)
def run(request):
    return request.param


class Listening:
    """A listener as broker 1, with all that it reports to."""

    def __init__(self, **limits: int) -> None:
        self.handler = RecordingHandler()
        identity = Identity(CLUSTER_ID, 1, SECRET)
        self.context = TcpContext(
            identity, TransportLimits(**limits), self.handler, queues=MemoryBudget().queues
        )
        self.seen: list[int] = []
        self.listener = Listener(self.context, self.seen.append)
        self.port = 0

    async def __aenter__(self) -> Listening:
        self.port = await self.listener.start("127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listener.close()
        await self.listener.wait_closed()

    @property
    def rejected(self) -> dict[str, int]:
        return dict(self.context.counters.rejected_connections)

    async def connect_and_leave(self, broker_id: int) -> None:
        peer = await self.connect(broker_id)
        await peer.close()
        await self.handler.until_event("lost", broker_id)

    async def connect(self, broker_id: int) -> HandPeer:
        peer = await HandPeer.dial(self.port)
        await peer.handshake(dialer_handshake(broker_id, 1))
        return peer


def rpc_bytes(number: int, sender: int = 5) -> bytes:
    [frame], _ = encode_rpcs([(7, TimeoutNow(3, sender, number))])
    return frame.buffers[0]


def test_a_peer_that_proves_itself_is_connected_and_heard(run):
    async def scenario():
        async with Listening() as listening:
            peer = await listening.connect(2)
            assert listening.handler.events == [("connected", 2)]
            assert listening.seen == [2]
            assert listening.listener.connected_peers == {2}
            peer.writer.write(rpc_bytes(1))
            await listening.handler.until_rpcs(1)
            assert listening.handler.rpcs == [(2, 7, TimeoutNow(3, 5, 1))]
            await peer.close()
            await listening.handler.until_event("lost", 2)
            assert listening.listener.connected_peers == frozenset()
            assert listening.rejected == {}

    run(scenario())


@pytest.mark.parametrize(
    ("broker_id", "expected", "facts", "reason"),
    [
        (2, 1, {"secret": b"wrong"}, "secret"),
        (2, 1, {"cluster_id": "c2"}, "cluster_id"),
        (2, 3, {}, "broker_id"),
        (1, 1, {}, "broker_id"),
    ],
)
def test_a_wrong_handshake_is_closed_with_a_counted_reason(run, broker_id, expected, facts, reason):
    async def scenario():
        async with Listening() as listening:
            good = await listening.connect(4)
            peer = await HandPeer.dial(listening.port)
            handshake = dialer_handshake(broker_id, expected, **facts)
            peer.writer.write(handshake.start())
            if reason == "secret":
                peer.writer.write(handshake.receive(await peer.read_frame()))
            await peer.until_closed()
            assert listening.rejected == {reason: 1}
            good.writer.write(rpc_bytes(1))
            await listening.handler.until_rpcs(1)
            assert listening.handler.events == [("connected", 4)]
            await good.close()
            await listening.handler.until_event("lost", 4)

    run(scenario())


def test_garbage_disturbs_nobody(run):
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - to repeat it
    chance = random.Random(seed)

    async def scenario():
        async with Listening() as listening:
            good = await listening.connect(2)
            for number in range(20):
                stranger = await HandPeer.dial(listening.port)
                stranger.writer.write(chance.randbytes(chance.randrange(26, 5_000)))
                await stranger.until_closed()
                good.writer.write(rpc_bytes(number))
                await listening.handler.until_rpcs(number + 1)
            assert sum(listening.rejected.values()) == 20
            assert listening.handler.events == [("connected", 2)]
            await good.close()
            await listening.handler.until_event("lost", 2)

    run(scenario())


def test_a_stranger_cannot_make_it_buffer_a_large_frame(run):
    async def scenario():
        async with Listening() as listening:
            stranger = await HandPeer.dial(listening.port)
            stranger.writer.write(encode_frame(FrameKind.HELLO, (bytes(2_000),)).buffers[0])
            await stranger.until_closed()
            assert listening.rejected == {"oversize": 1}

    run(scenario())


def test_an_rpc_before_the_handshake_touches_nobody(run):
    async def scenario():
        async with Listening() as listening:
            stranger = await HandPeer.dial(listening.port)
            stranger.writer.write(rpc_bytes(1))
            await stranger.until_closed()
            assert listening.rejected == {"unexpected_frame": 1}
            assert listening.handler.rpcs == []

    run(scenario())


def test_an_rpc_in_one_piece_with_the_proof_is_heard(run):
    async def scenario():
        async with Listening() as listening:
            peer = await HandPeer.dial(listening.port)
            handshake = dialer_handshake(2, 1)
            peer.writer.write(handshake.start())
            proof = handshake.receive(await peer.read_frame())
            peer.writer.write(proof + rpc_bytes(1))
            await listening.handler.until_rpcs(1)
            assert listening.handler.events == [("connected", 2)]
            await peer.close()
            await listening.handler.until_event("lost", 2)

    run(scenario())


def test_who_says_nothing_is_closed_in_time(run):
    async def scenario():
        async with Listening(handshake_timeout_ms=20) as listening:
            stranger = await HandPeer.dial(listening.port)
            await stranger.until_closed()
            assert listening.rejected == {"timeout": 1}

    run(scenario())


def test_who_leaves_during_the_handshake_is_counted(run):
    async def scenario():
        async with Listening() as listening:
            stranger = await HandPeer.dial(listening.port)
            stranger.writer.write(dialer_handshake(2, 1).start())
            await stranger.read_frame()
            await stranger.close()
            await listening.connect_and_leave(3)
            assert listening.rejected == {"closed": 1}
            assert listening.handler.events == [("connected", 3), ("lost", 3)]

    run(scenario())


def test_many_strangers_do_not_keep_a_peer_out(run):
    async def scenario():
        async with Listening(max_unauthenticated_connections=8) as listening:
            strangers = [await HandPeer.dial(listening.port) for _ in range(12)]
            peer = await listening.connect(2)
            for stranger in strangers[:4]:
                await stranger.until_closed()
            assert listening.rejected["crowded"] in {4, 5}
            assert listening.handler.events == [("connected", 2)]
            for stranger in strangers[4:]:
                await stranger.close()
            await peer.close()
            await listening.handler.until_event("lost", 2)

    run(scenario())


def test_a_newer_connection_replaces_the_older_and_nobody_is_lost(run):
    async def scenario():
        async with Listening() as listening:
            older = await listening.connect(2)
            newer = await listening.connect(2)
            await older.until_closed()
            newer.writer.write(rpc_bytes(1))
            await listening.handler.until_rpcs(1)
            assert listening.handler.events == [("connected", 2)]
            assert listening.rejected == {}
            await newer.close()
            await listening.handler.until_event("lost", 2)
            assert listening.handler.events == [("connected", 2), ("lost", 2)]

    run(scenario())


def test_a_newer_connection_without_proof_replaces_nothing(run):
    async def scenario():
        async with Listening() as listening:
            older = await listening.connect(2)
            impostor = await HandPeer.dial(listening.port)
            handshake = dialer_handshake(2, 1, secret=b"wrong")
            impostor.writer.write(handshake.start())
            impostor.writer.write(handshake.receive(await impostor.read_frame()))
            await impostor.until_closed()
            older.writer.write(rpc_bytes(1))
            await listening.handler.until_rpcs(1)
            assert listening.handler.events == [("connected", 2)]
            await older.close()
            await listening.handler.until_event("lost", 2)

    run(scenario())


def test_a_silent_peer_is_closed_unless_our_own_loop_stood_still(run):
    async def scenario():
        async with Listening() as listening:
            peer = await listening.connect(2)
            later = asyncio.get_running_loop().time() + 15
            listening.listener.check(later, stalled=True)
            listening.listener.check(later + 9, stalled=False)
            peer.writer.write(rpc_bytes(1))
            await listening.handler.until_rpcs(1)
            assert listening.handler.events == [("connected", 2)]
            listening.listener.check(later + 11, stalled=False)
            await peer.until_closed()
            await listening.handler.until_event("lost", 2)
            assert listening.rejected == {"silence": 1}

    run(scenario())
