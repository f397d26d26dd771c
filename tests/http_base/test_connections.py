"""Connections between our own processes, over a real socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from http_base.connections import Connections, NotConnected
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.http1 import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
GET, POST = Request("GET", "/x"), Request("POST", "/x", body=b"{}")
PATIENCE_S = 20.0


class Server:
    """Answers each request with the next of its answers; None closes the connection instead."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.connections = 0
        self.requests = 0
        self.address = ""
        self.lost = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while await self._request(reader):
            self.requests += 1
            answer = self.answers.pop(0) if self.answers else OK
            if answer is None:
                break
            writer.write(answer)
            if answer is LAST:
                break
        self.lost.set()
        writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2 if head.startswith(b"POST") else 0)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        return True


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    server.address = f"http://127.0.0.1:{port}"
    yield server
    listening.close()


@asynccontextmanager
async def opened(per_server: int = 0, keep_alive_s: float = 60) -> AsyncIterator[Connections]:
    connections = Connections(per_server=per_server, keep_alive_s=keep_alive_s)
    yield connections
    connections.close()


async def ask(connections: Connections, server: Server, request: Request = GET) -> bytes:
    answer = await connections.exchange(
        server.address, request, timeout_s=PATIENCE_S, connect_timeout_s=PATIENCE_S
    )
    assert answer.status == 200
    return answer.body


async def reach(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.001)


async def test_calls_one_after_the_other_share_a_connection(server: Server) -> None:
    async with opened() as connections:
        assert [await ask(connections, server) for _ in range(5)] == [b"ok"] * 5
        assert (server.connections, server.requests) == (1, 5)


async def test_calls_at_once_have_a_connection_each(server: Server) -> None:
    async with opened() as connections:
        await asyncio.gather(*(ask(connections, server, POST) for _ in range(5)))
        assert server.connections == 5


async def test_a_connection_that_the_server_ends_is_used_no_more(server: Server) -> None:
    server.answers = [LAST]
    async with opened() as connections:
        assert [await ask(connections, server, POST) for _ in range(2)] == [b"ok"] * 2
        assert server.connections == 2


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
async def test_only_what_may_happen_twice_is_sent_again_when_a_kept_connection_breaks(
    server: Server, request_: Request
) -> None:
    server.answers = [OK, None, OK]
    async with opened() as connections:
        await ask(connections, server)
        if request_ is GET:
            assert await ask(connections, server, request_) == b"ok"
            assert (server.connections, server.requests) == (2, 3)
        else:
            with pytest.raises(OSError, match="closed") as broke:
                await ask(connections, server, request_)
            assert not isinstance(broke.value, NotConnected | TimeoutError)
            assert server.requests == 2


async def test_a_new_connection_that_breaks_is_not_tried_again(server: Server) -> None:
    server.answers = [None]
    async with opened() as connections:
        with pytest.raises(OSError, match="closed"):
            await ask(connections, server)
        assert server.requests == 1


async def held_by(server: Server, connections: Connections) -> asyncio.Task[bytes]:
    """Return a call that the server does not answer."""
    server.answers = [b""]
    before = server.requests
    held = asyncio.get_running_loop().create_task(ask(connections, server, POST))
    await reach(lambda: server.requests > before)
    return held


async def test_a_call_waits_for_a_free_connection_until_its_time_is_over(server: Server) -> None:
    async with opened(per_server=1) as connections:
        held = await held_by(server, connections)
        with pytest.raises(NotConnected, match="free"):
            await connections.exchange(server.address, GET, timeout_s=5, connect_timeout_s=0.01)
        waiting = asyncio.get_running_loop().create_task(ask(connections, server))
        held.cancel()
        assert await waiting == b"ok"
        assert server.connections == 2, "what a cancelled call left could be taken for an answer"


async def test_a_call_that_is_not_answered_in_time_closes_its_connection(server: Server) -> None:
    server.answers = [OK, b"HTTP/1.1 200 OK\r\n"]
    async with opened() as connections:
        await ask(connections, server)  # it is connected
        with pytest.raises(TimeoutError):
            await connections.exchange(server.address, GET, timeout_s=0.05, connect_timeout_s=5)
        await reach(server.lost.is_set)
        assert await ask(connections, server) == b"ok"


async def test_connections_that_are_idle_for_long_are_closed(server: Server) -> None:
    async with opened(keep_alive_s=0.02) as connections:
        await asyncio.gather(ask(connections, server, POST), ask(connections, server, POST))
        await asyncio.sleep(0.05)
        await ask(connections, server, POST)
        await reach(server.lost.is_set)
        assert server.connections == 3, "one that the server may be about to close is not taken"


async def test_closing_ends_what_is_under_way_and_later_calls_connect_anew(server: Server) -> None:
    async with opened() as connections:
        held = await held_by(server, connections)
        connections.close()
        with pytest.raises(OSError, match="closed"):
            await held
        assert await ask(connections, server) == b"ok"


async def test_what_is_no_address_is_refused_and_nobody_there_is_not_connected() -> None:
    async with opened() as connections:
        for address, error in (("http://", InvalidRequest), ("http://127.0.0.1:1", NotConnected)):
            with pytest.raises(error):
                await connections.exchange(address, GET, timeout_s=5, connect_timeout_s=5)
