"""Connections of a real server, on real sockets: who may stay, and who is cut off."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY

from http_base.memory_budget import MemoryShare
from queuesite.connections import ConnectionLimits
from queuesite.serving import HttpServer
from tests.doubles.memory import WatchedShare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

MIB = 1 << 20
LONG = b"x" * (8 * MIB)
"""An answer that no socket takes at once."""
LIMITS = ConnectionLimits(
    connections_max=1_000, idle_s=0.4, bytes_per_second_min=100, window_s=0.12
)
PATIENT = ConnectionLimits(connections_max=4, idle_s=60, bytes_per_second_min=100, window_s=60)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"
TIME_OUT_S = 10


class App:
    """Reads bodies, but not that of /unread, and answers `hello`; /long with 8 MiB, /wait late."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.waiting = 0
        """Requests that began to wait."""
        self.left = 0
        """Requests whose clients left in the middle of a body."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        event = {"more_body": scope["path"] != "/unread"}
        while event.get("more_body"):
            event = await receive()
            if event["type"] == "http.disconnect":
                self.left += 1
                return
        if scope["path"] == "/wait":
            self.waiting += 1
            await self.may_answer.wait()
        body = LONG if scope["path"] == "/long" else b"hello"
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Client:
    """One connection; nothing is read unless it is asked for."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.socket.setblocking(False)

    def send(self, data: bytes) -> None:
        """Send what fits into the socket's buffer."""
        assert self.socket.send(data) == len(data)

    async def ask(self, raw: bytes = GET) -> bytes:
        """Send a request, and return what comes until there is `hello`."""
        self.send(raw)
        return await self._receive(lambda found: b"\r\n\r\nhello" in found)

    async def rest(self) -> bytes:
        """Return what comes until the server closes the connection."""
        return await self._receive(lambda _: False)

    async def _receive(self, is_all: Callable[[bytearray], bool]) -> bytes:
        found = bytearray()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIME_OUT_S):
            with suppress(ConnectionError):  # an abort: nothing more comes
                while not is_all(found) and (part := await loop.sock_recv(self.socket, MIB)):
                    found += part
        return bytes(found)


class Site:
    """A server and its clients."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self.clients: list[Client] = []

    @property
    def connections(self) -> int:
        """Open connections, as the server knows them."""
        return self._server.connections

    def connect(self) -> Client:
        """Open a connection."""
        self.clients.append(Client(socket.create_connection(("127.0.0.1", self._server.port))))
        return self.clients[-1]


@pytest.fixture
def app() -> App:
    return App()


@asynccontextmanager
async def serving(
    app: App, limits: ConnectionLimits, answers: MemoryShare | None = None
) -> AsyncIterator[Site]:
    """Serve an application."""
    server = HttpServer(
        host="127.0.0.1", port=0, limits=limits, answers=answers or MemoryShare("answers", 64 * MIB)
    )
    server.bind()
    await server.start(app)  # type: ignore[arg-type]  # any application does
    site = Site(server)
    try:
        yield site
    finally:
        app.may_answer.set()
        for client in site.clients:
            client.socket.close()
        await server.stop()


def cut(reason: str) -> float:
    """Return how many connections were closed for a reason so far."""
    return REGISTRY.get_sample_value("queue_http_connections_cut_total", {"reason": reason}) or 0


async def until(condition: Any) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(TIME_OUT_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(POST + b"a" * 10_000, "slow_sender"), (GET[:-2], "slow_headers")],
)
async def test_a_sender_that_stops_is_cut_off_and_told_why(
    app: App, sent: bytes, reason: str
) -> None:
    before = cut(reason)
    async with serving(app, LIMITS) as site:
        client = site.connect()
        client.send(sent)
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"REQUEST_TIMEOUT"' in answer
        assert cut(reason) == before + 1
        await until(lambda: app.left == (reason == "slow_sender"))


async def test_a_sender_a_byte_at_a_time_is_cut_off_however_often_it_sends(app: App) -> None:
    before = cut("slow_sender")
    async with serving(app, ConnectionLimits(bytes_per_second_min=4_096, window_s=0.2)) as site:
        client = site.connect()
        client.send(POST)
        async with asyncio.timeout(TIME_OUT_S):
            with suppress(ConnectionError):  # what it sends after the end is refused
                while not app.left:
                    client.send(b"a")
                    await asyncio.sleep(0.005)
        assert cut("slow_sender") == before + 1


async def test_a_sender_above_the_floor_may_take_its_time(app: App) -> None:
    before = cut("slow_sender")
    async with serving(app, LIMITS) as site:
        client = site.connect()
        client.send(POST.replace(b"10000000", b"4000"))
        for _ in range(40):  # three windows
            client.send(b"a" * 100)
            await asyncio.sleep(0.01)
        assert (await client.ask(b"")).endswith(b"hello")
    assert cut("slow_sender") == before


@pytest.mark.parametrize("is_used", [False, True])
async def test_an_idle_connection_is_closed(app: App, *, is_used: bool) -> None:
    async with serving(app, LIMITS) as site:
        client = site.connect()
        if is_used:
            assert (await client.ask()).endswith(b"hello")
        assert await client.rest() == b""


async def test_a_connection_idle_after_a_refused_body_is_closed_too(app: App) -> None:
    async with serving(app, LIMITS) as site:
        client = site.connect()
        client.send(POST.replace(b"/ ", b"/unread ", 1) + b"a" * 10_000)
        answer = await client.rest()
        assert answer.endswith(b"hello")
        assert answer.count(b"HTTP/1.1") == 1


async def test_who_waits_for_the_server_may_wait(app: App) -> None:
    async with serving(app, LIMITS) as site:
        client = site.connect()
        waiting = asyncio.ensure_future(client.ask(GET.replace(b"/ ", b"/wait ", 1)))
        await asyncio.sleep(4 * LIMITS.window_s)
        app.may_answer.set()
        assert (await waiting).endswith(b"hello")


async def test_a_client_that_does_not_read_is_cut_off_and_its_bytes_are_counted(app: App) -> None:
    answers = WatchedShare("answers", 64 * MIB)
    before = cut("slow_reader")
    async with serving(app, LIMITS, answers) as site:
        client = site.connect()
        client.send(GET.replace(b"/ ", b"/long ", 1))
        await until(lambda: answers.used_bytes)
        assert answers.used_bytes < len(LONG) + 1_000
        await until(lambda: cut("slow_reader") == before + 1)
        assert (answers.used_bytes, answers.peak_bytes > 0) == (0, True)
        other = site.connect()
        assert (await other.ask()).endswith(b"hello")


async def test_answers_that_nobody_reads_take_what_they_may_and_the_first_makes_room(
    app: App,
) -> None:
    answers = WatchedShare("answers", 20 * MIB)
    before = cut("unsent_limit")
    many = ConnectionLimits(idle_s=60, window_s=60)
    async with serving(app, many, answers) as site:
        clients = [site.connect() for _ in range(8)]
        for client in clients:
            client.send(GET.replace(b"/ ", b"/long ", 1))
        await until(lambda: cut("unsent_limit") > before)
        assert answers.used_bytes <= answers.limit_bytes
        reading = site.connect()
        reading.send(LAST.replace(b"/ ", b"/long ", 1))
        assert (await reading.rest()).endswith(LONG), "who reads gets all of it"
        assert answers.used_bytes <= answers.limit_bytes
    assert answers.used_bytes == 0


async def test_beyond_the_limit_the_longest_idle_makes_room(app: App) -> None:
    async with serving(app, PATIENT) as site:
        clients = [site.connect() for _ in range(4)]
        for client in clients:
            assert (await client.ask()).endswith(b"hello")
        assert (await site.connect().ask()).endswith(b"hello")
        assert await clients[0].rest() == b""
        assert (await clients[1].ask()).endswith(b"hello")


async def test_where_all_are_at_work_a_further_connection_is_refused(app: App) -> None:
    before = cut("limit")
    async with serving(app, PATIENT) as site:
        clients = [site.connect() for _ in range(4)]
        waiting = [
            asyncio.ensure_future(client.ask(GET.replace(b"/ ", b"/wait ", 1)))
            for client in clients
        ]
        await until(lambda: app.waiting == 4)
        answer = await site.connect().rest()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"OVERLOADED"' in answer
        assert b"retry-after: 1\r\n" in answer
        assert cut("limit") == before + 1
        app.may_answer.set()
        for one in waiting:
            assert (await one).endswith(b"hello")
        assert (await site.connect().ask()).endswith(b"hello")


async def test_a_good_client_beside_idle_and_slow_ones_is_served_on(app: App) -> None:
    answers = WatchedShare("answers", 20 * MIB)
    limits = replace(LIMITS, idle_s=1.5, window_s=0.4)
    async with serving(app, limits, answers) as site:
        good = site.connect()
        bad = [site.connect() for _ in range(60)]
        for number, client in enumerate(bad):
            client.send((b"", POST, GET.replace(b"/ ", b"/long ", 1))[number % 3])
        assert (await good.ask()).endswith(b"hello")
        served = 0
        async with asyncio.timeout(TIME_OUT_S):
            while site.connections > 1:
                assert (await good.ask()).endswith(b"hello")
                served += 1
        assert served > 5
        assert answers.peak_bytes <= answers.limit_bytes + len(LONG)
        assert answers.used_bytes == 0
