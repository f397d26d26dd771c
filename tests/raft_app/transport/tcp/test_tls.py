"""The transport with TLS: the same frames, and nobody without a certificate."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from http_base.tls import tls_of
from raft_app.transport.protocol import TransportLimits
from tests.certificates import Authority
from tests.raft_app.transport.transport_harness import (
    CLUSTER_ID,
    RUNNERS,
    WAIT_SECONDS,
    HandPeer,
    TcpNetwork,
    append,
)

TLS_HANDSHAKE = b"\x16\x03"
"""How a connection with TLS begins."""
LIMITS = TransportLimits(handshake_timeout_ms=2_000)


@pytest.fixture(params=RUNNERS.values(), ids=RUNNERS)
def run(request):
    return request.param


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls(authority):
    issued = authority.issue()
    return tls_of(issued.cert, issued.key, authority.ca, asks=True)


def test_entries_and_snapshot_connections_arrive_as_without_tls(run, tls):
    async def scenario():
        network = TcpNetwork(tls=tls)
        one, two = await network.start_all(2)
        sent = [(index, append(index, (1 << 20) + index)) for index in range(1, 6)]
        for pair in sent:
            one.transport.send(2, [pair])
        await two.handler.until_rpcs(len(sent))
        assert [pair[1:] for pair in two.handler.rpcs] == sent
        assert one.counters.rejected_connections == two.counters.rejected_connections == {}
        stream = await one.transport.open_snapshot(2)
        stream.close()
        await network.stop()

    run(scenario())


def test_who_is_dialled_hears_nothing_before_it_has_shown_its_certificate(run, tls):
    async def scenario():
        heard = asyncio.get_running_loop().create_future()

        async def listen(reader, writer):
            data = await reader.read(1 << 16)
            if not heard.done():
                heard.set_result(data)
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        network = TcpNetwork(LIMITS, tls=tls)
        one = await network.start(1)
        one.transport.set_peers({2: f"127.0.0.1:{server.sockets[0].getsockname()[1]}"})
        first = await asyncio.wait_for(heard, WAIT_SECONDS)
        assert first[:2] == TLS_HANDSHAKE
        assert CLUSTER_ID.encode() not in first
        await network.stop()
        server.close()
        await server.wait_closed()

    run(scenario())


@pytest.mark.parametrize("case", ["no TLS", "no certificate", "of another authority"])
def test_a_stranger_is_let_in_nowhere(run, tls, authority, case, tmp_path):
    async def scenario():
        network = TcpNetwork(LIMITS, tls=tls)
        one = await network.start(1)
        context = None
        if case != "no TLS":
            context = ssl.create_default_context(cafile=authority.ca)
        if case == "of another authority":
            issued = Authority(tmp_path).issue("stranger")
            context.load_cert_chain(issued.cert, issued.key)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", one.transport.port, ssl=context
                )
                writer.write(b"x" * 100)
                assert await reader.read(1) == b""
                writer.close()
        except (ssl.SSLError, ConnectionError):
            pass
        assert one.handler.rpcs == []
        assert one.transport.connected_peers == frozenset()
        await network.stop()

    run(scenario())


def test_a_peer_on_another_host_than_its_certificate_says_is_not_reached(run, authority):
    async def scenario():
        issued = authority.issue("elsewhere", hosts="DNS:elsewhere.test")
        network = TcpNetwork(LIMITS, tls=tls_of(issued.cert, issued.key, authority.ca, asks=False))
        one, two = await network.start(1), await network.start(2)
        network.introduce()
        await asyncio.sleep(0.3)
        assert one.transport.connected_peers == two.transport.connected_peers == frozenset()
        await network.stop()

    run(scenario())


def test_who_dials_without_tls_goes_on_dialling(run, tls):
    async def scenario():
        secured, plain = TcpNetwork(LIMITS, tls=tls), TcpNetwork(LIMITS)
        one, two = await secured.start(1), await plain.start(2)
        one.transport.set_peers({2: two.address})
        two.transport.set_peers({1: one.address})
        await asyncio.sleep(0.3)
        assert one.transport.connected_peers == two.transport.connected_peers == frozenset()
        await secured.stop()
        await plain.stop()

    run(scenario())


def test_a_handshake_that_never_comes_is_given_up(run, tls):
    async def scenario():
        network = TcpNetwork(TransportLimits(handshake_timeout_ms=200), tls=tls)
        one = await network.start(1)
        peer = await HandPeer.dial(one.transport.port)
        await peer.until_closed()
        await network.stop()

    run(scenario())
