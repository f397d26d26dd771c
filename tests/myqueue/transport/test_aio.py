from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from myqueue.contract.errors import BrokerUnreachable
from myqueue.contract.http1 import Request
from myqueue.contract.inputs import MSGPACK
from myqueue.transport import aio
from myqueue.transport.aio import HttpAsyncTransport
from myqueue.transport.blocking import read_body
from tests.myqueue.http_twin import HttpCluster

TOPICS = Request("GET", "/topics", accept=MSGPACK)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def transport() -> AsyncIterator[HttpAsyncTransport]:
    made = HttpAsyncTransport(connect_timeout_s=5)
    yield made
    made.close()
    await asyncio.sleep(0)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve the given bytes as the answers of a connection, then close it."""
    servers: list[asyncio.Server] = []

    async def start(*answers: bytes, hold: bool = False) -> str:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for answer in answers:
                if not await reader.read(65_536):
                    break
                writer.write(answer)
            if hold:
                await reader.read()
            writer.close()

        servers.append(await asyncio.start_server(talk, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


async def test_connections_are_kept_and_closed(
    http_cluster: HttpCluster, transport: HttpAsyncTransport
) -> None:
    for _ in range(3):
        exchange = await transport.begin(http_cluster.address, TOPICS, timeout_s=5)
        answer = await exchange.answer()
        assert answer is not None
        assert read_body(answer)["topics"] == []
    assert [len(idle) for idle in transport._idle.values()] == [1]
    transport.close()
    assert transport._idle == {}


async def test_a_connection_to_an_address_that_nobody_asks_any_more_is_closed(
    http_cluster: HttpCluster, transport: HttpAsyncTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = http_cluster.address.replace("127.0.0.1", "localhost")
    await (await transport.begin(other, TOPICS, timeout_s=5)).answer()
    [[gone]] = transport._idle.values()
    assert not gone.closed
    await (await transport.begin(http_cluster.address, TOPICS, timeout_s=5)).answer()
    assert set(transport._idle) == {http_cluster.address, other}
    monkeypatch.setattr(aio, "IDLE_S_MAX", 0.0)
    await (await transport.begin(http_cluster.address, TOPICS, timeout_s=5)).answer()
    assert set(transport._idle) == {http_cluster.address}
    assert gone.closed
    transport.close()


async def test_a_connection_that_the_peer_closed_is_replaced(
    serve: Serve, transport: HttpAsyncTransport
) -> None:
    address = await serve(OK)
    for _ in range(2):
        answer = await (await transport.begin(address, TOPICS, timeout_s=5)).answer()
        assert answer is not None
        assert answer.body == b"hi"
        await asyncio.sleep(0.02)


async def test_a_lost_answer_has_an_unknown_outcome(
    http_cluster: HttpCluster, transport: HttpAsyncTransport
) -> None:
    http_cluster.twin.fail("/topics")
    exchange = await transport.begin(http_cluster.address, TOPICS, timeout_s=5)
    with pytest.raises(BrokerUnreachable) as caught:
        await exchange.answer()
    assert not caught.value.outcome_known


async def test_without_a_connection_nothing_happened(transport: HttpAsyncTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(BrokerUnreachable) as caught:
        await transport.begin(address, TOPICS, timeout_s=5)
    assert caught.value.outcome_known


async def test_patience_ends_before_the_answer_and_time_ends_it(
    serve: Serve, transport: HttpAsyncTransport
) -> None:
    address = await serve(hold=True)
    exchange = await transport.begin(address, TOPICS, timeout_s=0.1)
    assert await exchange.answer(0.01) is None
    with pytest.raises(BrokerUnreachable) as caught:
        await exchange.answer()
    assert not caught.value.outcome_known


async def test_several_exchanges_are_waited_for_at_once(
    serve: Serve, transport: HttpAsyncTransport
) -> None:
    silent = await transport.begin(await serve(hold=True), TOPICS, timeout_s=30)
    quick = await transport.begin(await serve(OK), TOPICS, timeout_s=30)
    assert await transport.wait([silent, quick], timeout_s=30) == [quick]
    assert await transport.wait([silent], timeout_s=0.01) == []
    silent.cancel()
    assert await quick.answer(0) is not None


async def test_an_exchange_whose_time_is_over_is_not_waited_for(
    serve: Serve, transport: HttpAsyncTransport
) -> None:
    other = await transport.begin(await serve(hold=True), TOPICS, timeout_s=30)
    silent = await transport.begin(await serve(hold=True), TOPICS, timeout_s=0.05)
    async with asyncio.timeout(5):
        assert await transport.wait([other, silent], timeout_s=30) == [silent]
    with pytest.raises(BrokerUnreachable) as caught:
        await silent.answer(0)
    assert not caught.value.outcome_known
    other.cancel()


@pytest.mark.parametrize("answer", [b"SSH-2.0\r\n\r\n", OK[:-1], OK + b"more"])
async def test_what_is_no_single_answer_ends_the_connection(
    serve: Serve, transport: HttpAsyncTransport, answer: bytes
) -> None:
    exchange = await transport.begin(await serve(answer), TOPICS, timeout_s=5)
    if answer.endswith(b"more"):
        assert await exchange.answer() is not None
    else:
        with pytest.raises(BrokerUnreachable):
            await exchange.answer()
    assert not any(transport._idle.values())


async def test_a_long_body_arrives_whole(serve: Serve, transport: HttpAsyncTransport) -> None:
    body = bytes(range(256)) * 20_000
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answer = await (await transport.begin(await serve(head + body), TOPICS, timeout_s=30)).answer()
    assert answer is not None
    assert answer.body == body
