"""Calls between our own processes, over a real HTTP server."""

from __future__ import annotations

import asyncio
import ssl

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from http_base.cluster import ReplicaPlace
from http_base.cluster_http import (
    ORIGIN,
    CallFailed,
    ClusterCall,
    ClusterHttp,
    ForwardedCall,
    NotSent,
    OutcomeUnknown,
    Unreadable,
    is_silent,
)
from http_base.tls import Tls
from http_base.tokens import cluster_token
from myqueue.contract.errors import Internal, NotLeader
from myqueue.contract.inputs import BATCH, JSON, MSGPACK

SECRET = "a secret of the tests"
CODECS = {JSON: msgspec.json, MSGPACK: msgspec.msgpack}


class Server:
    """Takes every request down and gives the answers it was told, one after the other."""

    def __init__(self) -> None:
        self.requests: list[tuple[web.BaseRequest, bytes]] = []
        self.answers: list[web.Response | None] = []
        """None: the connection breaks."""
        self.address = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request, await request.read()))
        if request.path == "/never":
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
        return answer or web.Response()


@pytest.fixture
async def server():
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path}", server.answer)
    listening = TestServer(app, host="127.0.0.1")
    await listening.start_server(access_log=None, shutdown_timeout=0.1)
    server.address = f"http://127.0.0.1:{listening.port}"
    yield server
    await listening.close()


@pytest.fixture
async def http():
    http = ClusterHttp(SECRET)
    yield http
    await http.close()


def encoded(accept: str, fields: object, *, status: int = 200) -> web.Response:
    return web.Response(body=CODECS[accept].encode(fields), content_type=accept, status=status)


@pytest.mark.parametrize("accept", [JSON, MSGPACK])
async def test_a_body_travels_in_the_language_of_its_answer(server, http, accept):
    server.answers = [encoded(accept, {"replica_id": 7, "broker_id": 2, "novelty": 1})]
    call = ClusterCall("POST", "/x", {"a": 1, "b": None}, ReplicaPlace(7, 1), accept=accept)
    answer = await http.call(server.address, call, timeout_s=5)
    assert "X-Queue-Origin" not in server.requests[0][0].headers
    assert answer.read(ReplicaPlace) == ReplicaPlace(7, 2)
    [(request, body)] = server.requests
    assert request.headers["Authorization"] == f"Bearer {cluster_token(SECRET)}"
    assert (request.content_type, request.headers["Accept"]) == (accept, accept)
    assert dict(request.query) == {"a": "1"}
    assert CODECS[accept].decode(body) == {"replica_id": 7, "broker_id": 1}


async def test_what_is_called_for_a_client_says_for_whom(server, http):
    server.answers = [encoded(MSGPACK, {})]
    ORIGIN.set("10.0.0.9")
    await http.call(server.address, ClusterCall("GET", "/x"), timeout_s=5)
    assert server.requests[0][0].headers["X-Queue-Origin"] == "10.0.0.9"


async def test_a_batch_is_sent_and_received_as_it_is(server, http):
    server.answers = [web.Response(body=b"stored", content_type=BATCH, headers={"X-Next": "8"})]
    call = ClusterCall("POST", "/x", batch=b"encoded", accept=BATCH)
    answer = await http.call(server.address, call, timeout_s=5)
    assert (answer.body, answer.headers["x-next"]) == (b"stored", "8")
    [(request, body)] = server.requests
    assert (request.content_type, body) == (BATCH, b"encoded")


@pytest.mark.parametrize("accept", [JSON, MSGPACK])
async def test_a_failure_is_raised_as_the_error_that_it_is(server, http, accept):
    error = NotLeader("not here", leader={"broker_id": 2, "address": "http://h:2"})
    server.answers = [encoded(accept, error.to_body(), status=421)]
    server.answers += [encoded(accept, {"odd": 1}, status=500)]
    call = ClusterCall("GET", "/x", accept=accept)
    with pytest.raises(NotLeader, match="not here") as refused:
        await http.call(server.address, call, timeout_s=5)
    assert refused.value.details["leader"]["broker_id"] == 2
    with pytest.raises(Internal) as unforeseen:
        await http.call(server.address, call, timeout_s=5)
    assert not unforeseen.value.outcome_known


@pytest.mark.parametrize("body", [b"<html>", b'"\xff"', b'{"a":' + b"[" * 9_999, b""])
@pytest.mark.parametrize("accept", [JSON, MSGPACK])
async def test_what_cannot_be_read_leaves_the_outcome_unknown(server, http, accept, body):
    server.answers = [web.Response(body=body, status=502), web.Response(body=body)]
    call = ClusterCall("POST", "/x", accept=accept)
    with pytest.raises(Unreadable, match=server.address) as refused:
        await http.call(server.address, call, timeout_s=5)
    assert refused.value.status == 502
    answer = await http.call(server.address, call, timeout_s=5)
    with pytest.raises(OutcomeUnknown):
        answer.read(ReplicaPlace)


async def test_a_redirection_is_not_followed_with_the_token(server, http):
    server.answers = [web.Response(status=302, headers={"Location": f"{server.address}/other"})]
    with pytest.raises(Unreadable):
        await http.call(server.address, ClusterCall("GET", "/x"), timeout_s=5)
    assert len(server.requests) == 1


async def test_a_time_limit_is_for_all_of_a_call_and_says_that_it_may_have_happened(server, http):
    server.answers = [encoded(MSGPACK, {})]
    await http.call(server.address, ClusterCall("GET", "/x"), timeout_s=20)  # it is connected
    with pytest.raises(OutcomeUnknown, match="in time") as failed:
        await http.call(server.address, ClusterCall("POST", "/never"), timeout_s=0.05)
    assert is_silent(failed.value)


async def test_a_connection_that_breaks_is_no_silence(server, http):
    server.answers = [None]
    with pytest.raises(OutcomeUnknown, match="broke") as failed:
        await http.call(server.address, ClusterCall("POST", "/x"), timeout_s=5)
    assert not is_silent(failed.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://", "nonsense", "http://h:99999"])
async def test_what_could_not_be_connected_was_not_sent(http, address):
    with pytest.raises(NotSent) as failed:
        await http.call(address, ClusterCall("POST", "/x"), timeout_s=5)
    assert is_silent(failed.value)
    assert isinstance(failed.value, CallFailed)


async def test_with_a_certificate_no_token_is_sent_in_the_clear(server):
    context = ssl.create_default_context()
    http = ClusterHttp(SECRET, tls=Tls(context, serving=context, peers=context))
    passed = ForwardedCall("POST", "/x", b"", content_type=JSON, accept=JSON, token="qs_x")
    with pytest.raises(NotSent, match="no TLS"):
        await http.call(server.address, ClusterCall("POST", "/x"), timeout_s=5)
    with pytest.raises(NotSent, match="no TLS"):
        await http.forward(server.address, passed, timeout_s=5, connect_timeout_s=5)
    assert server.requests == []
    await http.close()


async def test_a_closed_client_opens_new_connections(server, http):
    server.answers = [encoded(MSGPACK, {}), encoded(MSGPACK, {})]
    for _ in range(2):
        await http.call(server.address, ClusterCall("GET", "/x"), timeout_s=5)
        await http.close()
    assert len(server.requests) == 2
