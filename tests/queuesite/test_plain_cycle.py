"""Requests that a server answers without ASGI, over real connections."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from http_base import hotpaths
from http_base.browsers import BrowserRules
from http_base.direct import DirectAnswer
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from queuesite.plain_cycle import PlainCycle
from queuesite.serving import HttpServer
from tests.http_base import views_for_tests

ECHO = b"POST /echo?topic=a&partition=0&producer_id=1 HTTP/1.1\r\nHost: x\r\n"
ECHO += b"Content-Type: application/vnd.queue.batch\r\n"
WAITING = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


async def no_django(scope, receive, send):
    raise AssertionError(f"{scope['path']} went to Django")


class Site:
    """A server, what it answered in which way, and connections to it."""

    def __init__(self, app, server):
        self.app, self.server = app, server
        self.ways = []
        self.plain = app.answer_plain
        app.answer_plain = self.answer_plain

    def answer_plain(self, *args):
        self.ways.append("plain")
        return self.plain(*args)

    async def open(self):
        return Client(*await asyncio.open_connection("127.0.0.1", self.server.port))

    def answered_plainly(self):
        """Return how many requests were, since this was last asked."""
        count = len(self.ways)
        self.ways.clear()
        return count


class Client:
    """One connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def ask(self, raw):
        self.writer.write(raw)
        return await self.answer()

    async def answer(self):
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return head, await self.reader.readexactly(size)

    async def close(self):
        self.writer.close()
        await self.writer.wait_closed()


def without_date(answer):
    """Leave out what differs between answers: when, and the id of a failure."""
    head, body = answer
    lines = [
        line.partition(b": ")[0] if line.startswith((b"date: ", b"x-request-id: ")) else line
        for line in head.split(b"\r\n")
    ]
    assert b"date" in lines
    return b"\r\n".join(lines), body


def echo(body: bytes) -> bytes:
    return ECHO + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.fixture
async def site(settings):
    settings.ROOT_URLCONF = "tests.http_base.views_for_tests"
    views_for_tests.PAUSE = asyncio.Event()
    views_for_tests.STARTED = asyncio.Event()
    views_for_tests.CANCELLED.clear()
    rules = BrowserRules(["x"], [], views_for_tests.HOT_PATHS)
    app = HotPaths(no_django, views_for_tests.HOT_PATHS, bodies=MemoryBudget().bodies, rules=rules)
    server = HttpServer(host="127.0.0.1", port=0)
    server.bind()
    await server.start(app)
    made = Site(app, server)
    client = await made.open()
    await client.ask(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")  # the host is judged once
    await client.close()
    yield made
    await server.stop()
    assert (app._under_way, app._bodies.used_bytes) == (0, 0)


async def test_what_comes_again_is_answered_the_same_without_asgi(site):
    client = await site.open()
    first = without_date(await client.ask(echo(b"abc")))
    assert site.answered_plainly() == 0
    for body in (b"abc", b"xyz"):
        assert without_date(await client.ask(echo(body))) == first
    assert site.answered_plainly() == 2
    other = await site.open()  # what one connection has shown counts for all
    assert without_date(await other.ask(echo(b"abc"))) == first
    assert site.answered_plainly() == 1
    longer = await client.ask(echo(b"abcd"))
    assert (b'"bytes":4' in longer[1], site.answered_plainly()) == (True, 1)
    await client.close()
    await other.close()


async def test_failures_are_the_same_too(site):
    client = await site.open()
    raw = echo(b"abc").replace(b"partition=0", b"partition=x")
    first = without_date(await client.ask(raw))
    assert first[0].startswith(b"HTTP/1.1 400 ")
    assert (without_date(await client.ask(raw)), site.answered_plainly()) == (first, 1)
    await client.close()


async def test_a_body_in_parts_and_requests_in_one_piece_are_answered_in_order(site):
    client = await site.open()
    _, first = await client.ask(echo(b"abc"))
    client.writer.write(echo(b"abc")[:-1])
    await asyncio.sleep(0.02)
    assert (await client.ask(b"d"))[1] == first
    client.writer.write(echo(b"ab") + echo(b"abc") + echo(b"abcd"))
    sizes = [(await client.answer())[1] for _ in range(3)]
    assert [f'"bytes":{size}'.encode() in one for size, one in zip((2, 3, 4), sizes, strict=True)]
    assert site.answered_plainly() == 0
    await client.close()


async def test_a_request_that_follows_before_the_answer_waits_for_its_turn(site):
    client = await site.open()
    views_for_tests.PAUSE.set()
    await client.ask(WAITING)
    await client.ask(echo(b"abc"))
    views_for_tests.PAUSE.clear()
    views_for_tests.STARTED.clear()
    client.writer.write(WAITING)
    await views_for_tests.STARTED.wait()
    assert site.answered_plainly() == 1
    client.writer.write(echo(b"abc"))
    await asyncio.sleep(0.02)
    views_for_tests.PAUSE.set()
    assert b'"topic":"slow"' in (await client.answer())[1]
    assert b'"bytes":3' in (await client.answer())[1]
    assert b'"bytes":3' in (await client.ask(echo(b"abc")))[1]
    assert site.answered_plainly() == 1
    await client.close()


async def test_a_client_that_leaves_ends_what_it_waited_for(site, monkeypatch):
    monkeypatch.setattr("queuesite.plain_cycle.DISCONNECT_WATCH_S", 0.01)
    client = await site.open()
    views_for_tests.PAUSE.set()
    await client.ask(WAITING)
    views_for_tests.PAUSE.clear()
    views_for_tests.STARTED.clear()
    client.writer.write(WAITING)
    await views_for_tests.STARTED.wait()
    await client.close()
    async with asyncio.timeout(5):
        while not views_for_tests.CANCELLED:
            await asyncio.sleep(0.01)
    assert site.app._under_way == 0


async def test_at_the_end_a_request_is_answered_and_its_connection_closed(site):
    client = await site.open()
    views_for_tests.PAUSE.set()
    await client.ask(WAITING)
    views_for_tests.PAUSE.clear()
    views_for_tests.STARTED.clear()
    client.writer.write(WAITING)
    await views_for_tests.STARTED.wait()
    assert site.answered_plainly() == 1
    [connection] = site.server._server.server_state.connections
    stopping = asyncio.ensure_future(site.server.stop())
    async with asyncio.timeout(5):
        while connection.cycle.keep_alive:
            await asyncio.sleep(0.01)
    views_for_tests.PAUSE.set()
    head, _ = await client.answer()
    assert b"\r\nconnection: close\r\n" in head
    assert await client.reader.read() == b""
    await asyncio.wait_for(stopping, 5)
    await client.close()


async def test_where_there_is_no_room_the_usual_way_says_so(site, monkeypatch):
    client = await site.open()
    await client.ask(echo(b"abc"))
    monkeypatch.setattr(hotpaths, "REQUESTS_MAX", 0)
    head, body = await client.ask(echo(b"abc"))
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"OVERLOADED" in body
    monkeypatch.undo()
    monkeypatch.setattr(site.app._bodies, "limit_bytes", 5)
    assert (await client.ask(echo(b"abc")))[0].startswith(b"HTTP/1.1 503 ")
    assert site.answered_plainly() == 0
    await client.close()


@pytest.mark.parametrize(
    "line",
    [
        b"Origin: http://elsewhere.example",
        b"Sec-Fetch-Site: cross-site",
        b"Cookie: a=b",
        b"Accept: text/html, application/json",
        b"Connection: close",
    ],
)
async def test_what_has_to_be_weighed_goes_the_usual_way(site, line):
    for _ in range(2):
        client = await site.open()
        client.writer.write(echo(b"abc").replace(b"\r\nHost", b"\r\n" + line + b"\r\nHost"))
        await client.reader.read(100)
        await client.close()
    assert site.answered_plainly() == 0


async def test_a_bug_is_answered_and_does_not_end_the_connection(site):
    client = await site.open()
    raw = b"GET /buggy HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(2):
        head, body = await client.ask(raw)
        assert head.startswith(b"HTTP/1.1 500 ")
        assert b"INTERNAL" in body
    assert site.answered_plainly() == 1
    await client.close()


def test_what_fails_after_the_answer_gives_no_second_one():
    written, ended = [], []
    connection = SimpleNamespace(
        hot=SimpleNamespace(end_plain=ended.append),
        server_state=SimpleNamespace(default_headers=[]),
        transport=SimpleNamespace(write=written.append),
        on_response_complete=lambda: None,
    )
    cycle = PlainCycle(connection, b"body")
    for status in (200, 500):
        cycle.answered(DirectAnswer(status, [(b"content-length", b"0")], b"", "ok"))
    assert (len(written), ended) == (1, [b"body"])
    assert written[0].startswith(b"HTTP/1.1 200 ")
