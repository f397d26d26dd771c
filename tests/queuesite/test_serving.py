from __future__ import annotations

import asyncio
import contextvars
import resource
import ssl

import pytest

from http_base.certificates import CERTIFICATE
from http_base.tls import tls_of
from queuesite import serving
from queuesite.connections import ConnectionLimits
from queuesite.serving import HttpServer, ListenError
from tests.certificates import Authority


async def hello(scope, receive, send):
    headers = [(b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


GOOD = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def ask(port: int, raw: bytes = GOOD) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.fixture
async def server():
    server = HttpServer(host="127.0.0.1", port=0)
    server.bind()
    yield server
    await server.stop()


async def test_connections_made_before_the_start_are_answered(server):
    early = asyncio.ensure_future(ask(server.port))
    await asyncio.sleep(0)
    await server.start(hello)
    assert (await asyncio.wait_for(early, 5)).endswith(b"hello")


async def test_running_request_is_finished_before_the_end():
    started, may_end = asyncio.Event(), asyncio.Event()

    async def slow(scope, receive, send):
        started.set()
        await may_end.wait()
        await hello(scope, receive, send)

    server = HttpServer(host="127.0.0.1", port=0)
    server.bind()
    await server.start(slow)
    request = asyncio.ensure_future(ask(server.port))
    await started.wait()
    stopping = asyncio.ensure_future(server.stop())
    may_end.set()
    assert (await asyncio.wait_for(request, 5)).endswith(b"hello")
    await asyncio.wait_for(stopping, 5)
    with pytest.raises(OSError):  # noqa: PT011 - refused, by whichever subclass
        await ask(server.port)


async def test_used_port_is_said_in_one_line(server):
    second = HttpServer(host="127.0.0.1", port=server.port)
    with pytest.raises(ListenError, match=f"127.0.0.1:{server.port}: Address already in use"):
        second.bind()


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host"])
def test_address_of_another_machine_is_refused(host):
    with pytest.raises(ListenError, match="cannot listen on"):
        HttpServer(host=host, port=8000).bind()


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_in_the_shape_of_all_failures(server, raw):
    await server.start(hello)
    answer = await asyncio.wait_for(ask(server.port, raw), 5)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b'"status":"failure","code":"INVALID_REQUEST"' in body
    assert (await ask(server.port)).endswith(b"hello")


async def test_headers_without_an_end_end_the_connection(server):
    await server.start(hello)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
    with pytest.raises(ConnectionError):  # noqa: PT012 - whichever write meets the closed end
        for _ in range(10_000):
            writer.write(b"a" * (32 << 10))
            await writer.drain()
    writer.close()
    assert (await ask(server.port)).endswith(b"hello")


@pytest.fixture
def writes(monkeypatch):
    """What the servers write to their connections, one item for each call."""
    written = []
    connection_made = serving._Protocol.connection_made

    def watched(protocol, transport):
        write = transport.write
        transport.write = lambda data: (written.append(bytes(data)), write(data))
        connection_made(protocol, transport)

    monkeypatch.setattr(serving._Protocol, "connection_made", watched)
    return written


async def test_an_answer_leaves_in_one_write(server, writes):
    await server.start(hello)
    answer = await ask(server.port)
    assert writes == [answer]
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    head = answer.lower().removesuffix(b"\r\n\r\nhello").split(b"\r\n")
    assert head.count(b"content-length: 5") == head.count(b"connection: close") == 1


async def test_answers_on_one_connection_follow_each_other(server, writes):
    await server.start(hello)
    answer = await ask(server.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + GOOD)
    assert len(writes) == 2
    assert b"".join(writes) == answer
    assert (b"connection: close" in writes[0], b"connection: close" in writes[1]) == (False, True)


async def test_pipelined_requests_share_no_context(server):
    """Django keeps a thread in it, and ends it with its own request."""
    left = contextvars.ContextVar("left", default="nothing")
    found = []

    async def leave(scope, receive, send):
        found.append(left.get())
        left.set(scope["path"])
        await hello(scope, receive, send)

    await server.start(leave)
    await ask(server.port, b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + GOOD)
    assert found == ["nothing"] * 3


async def test_an_answer_in_parts_leaves_as_it_comes(server, writes):
    async def in_parts(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hel", "more_body": True})
        assert b"hel" in b"".join(writes)
        await send({"type": "http.response.body", "body": b"lo"})

    await server.start(in_parts)
    answer = await ask(server.port)
    assert answer.endswith(b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")


async def test_the_answer_of_head_says_a_length_and_has_no_body(server):
    await server.start(hello)
    answer = await ask(server.port, GOOD.replace(b"GET", b"HEAD"))
    assert b"content-length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_an_application_may_end_the_connection(server):
    async def last(scope, receive, send):
        headers = [(b"Content-Length", b"2"), (b"Connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    await server.start(last)
    answer = await asyncio.wait_for(ask(server.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 5)
    assert answer.count(b"connection: close\r\n") == 1
    assert answer.endswith(b"ok")


@pytest.mark.parametrize("length", [b"4", b"6"])
async def test_an_answer_whose_length_is_wrong_ends_the_connection(server, length, caplog):
    async def wrong(scope, receive, send):
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    await server.start(wrong)
    await asyncio.wait_for(ask(server.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 5)
    assert "Exception in ASGI application" in caplog.text


async def test_an_application_that_fails_before_the_body_answers_500(server, caplog):
    async def failing(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError

    await server.start(failing)
    assert (await ask(server.port)).startswith(b"HTTP/1.1 500 ")
    assert "Exception in ASGI application" in caplog.text


@pytest.fixture
def limits():
    """Give the limits of this process back as they were."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_server_may_have_as_many_connections_as_the_system_lets_it(limits):
    _, hard = limits
    enough = 256
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    assert serving.allow_descriptors(enough - 1) == enough, "never fewer than before"
    assert serving.allow_descriptors(enough + 1) == enough + 1
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (enough + 1, hard)
    server = HttpServer(host="127.0.0.1", port=0)
    server.bind()
    server._socket.close()
    most = serving.DESCRIPTORS_MAX if hard < 0 else min(serving.DESCRIPTORS_MAX, hard)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, hard)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def secured(authority):
    """A server with TLS that asks for certificates; its clients have two seconds for all."""
    issued = authority.issue()
    tls = tls_of(issued.cert, issued.key, authority.ca, asks=True)
    server = HttpServer(host="127.0.0.1", port=0, limits=ConnectionLimits(window_s=2), tls=tls)
    server.bind()
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await hello(scope, receive, send)

    await server.start(app)
    server.scopes = scopes
    yield server
    await server.stop()


async def ask_secured(port, context, raw=GOOD):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(raw)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_https_is_answered_and_says_who_showed_a_certificate(secured, authority):
    context = ssl.create_default_context(cafile=authority.ca)
    assert (await ask_secured(secured.port, context)).endswith(b"hello")
    issued = authority.issue("client")
    context.load_cert_chain(issued.cert, issued.key)
    assert (await ask_secured(secured.port, context)).endswith(b"hello")
    assert [scope[CERTIFICATE] for scope in secured.scopes] == [False, True]
    assert {scope["scheme"] for scope in secured.scopes} == {"https"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_http_at_a_port_with_tls_is_told_what_to_do(secured, method):
    raw = method.encode() + GOOD[3:]
    reader, writer = await asyncio.open_connection("127.0.0.1", secured.port)
    writer.write(raw)
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"message":"this port speaks TLS: its address begins with https://"' in answer
    assert secured.scopes == []


async def test_who_never_shakes_hands_is_cut_off(secured):
    reader, writer = await asyncio.open_connection("127.0.0.1", secured.port)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_idle_connection_with_tls_does_not_hold_up_the_end(authority):
    issued = authority.issue()
    tls = tls_of(issued.cert, issued.key, None, asks=False)
    server = HttpServer(host="127.0.0.1", port=0, tls=tls)
    server.bind()
    await server.start(hello)
    context = ssl.create_default_context(cafile=authority.ca)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    await asyncio.wait_for(server.stop(), 10)
    writer.close()


async def test_those_who_never_shake_hands_keep_nobody_out(secured, authority, monkeypatch):
    monkeypatch.setattr(serving, "HANDSHAKES_MAX", 5)
    silent = [await asyncio.open_connection("127.0.0.1", secured.port) for _ in range(20)]
    context = ssl.create_default_context(cafile=authority.ca)
    assert (await ask_secured(secured.port, context)).endswith(b"hello")
    for reader, _ in silent[:10]:
        assert await asyncio.wait_for(reader.read(), 10) == b"", "the oldest gives way"
    assert len(secured._server._shaking) <= 5
    for _, writer in silent:
        writer.close()
