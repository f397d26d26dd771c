from __future__ import annotations

import asyncio

import pytest

from http_base import hotpaths
from http_base.cluster_http import ORIGIN
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from http_base.tokens import cluster_token
from tests.http_base import views_for_tests
from tests.http_base.asgi_client import call, scope_of


async def forbidden_app(scope, receive, send):
    raise AssertionError(f"{scope['path']} went to Django")


async def test_hot_path_does_not_reach_django():
    app = HotPaths(forbidden_app, views_for_tests.HOT_PATHS, bodies=MemoryBudget().bodies)
    answer = await call(app, "GET", "/echo?topic=a&partition=0&offset=0")
    assert answer.status == 200
    assert answer.headers["content-length"] == str(len(answer.body))


async def test_body_over_the_cap_reaches_nobody():
    app = HotPaths(forbidden_app, {}, bodies=MemoryBudget().bodies)
    answer = await call(app, "POST", "/admin/login", body=b"x" * ((1 << 20) + 1))
    assert (answer.status, answer.json["code"]) == (413, "MESSAGE_TOO_LARGE")
    assert "connection" not in answer.headers


async def test_endless_body_is_answered_and_the_connection_closed(monkeypatch):
    monkeypatch.setattr(hotpaths, "DRAINED_BYTES_MAX", 4 << 20)
    app = HotPaths(forbidden_app, {}, bodies=MemoryBudget().bodies)
    answer = await call(app, "POST", "/echo", body=[b"x" * (1 << 20)] * 100)
    assert (answer.status, answer.headers["connection"]) == (413, "close")


async def test_only_the_cluster_may_send_more_and_only_where_a_table_says_so(settings, monkeypatch):
    monkeypatch.setattr(hotpaths, "DRAINED_BYTES_MAX", 1 << 20)
    lengths = []

    async def django(scope, receive, send):
        lengths.append(len((await receive())["body"]))

    app = HotPaths(django, {}, {"/long": 3 << 20}, bodies=MemoryBudget().bodies)
    token = {"authorization": f"Bearer {cluster_token(settings.QUEUE.cluster_secret)}"}
    part = b"x" * (1 << 20)
    await call(app, "POST", "/long", body=[part] * 3, headers=token)
    assert lengths == [3 << 20]
    for path, parts, headers in (
        ("/long", 4, token),
        ("/long", 2, {}),
        ("/long", 2, {"authorization": "Bearer x"}),
        ("/other", 2, token),
    ):
        answer = await call(app, "POST", path, body=[part] * parts, headers=headers)
        assert (answer.status, answer.json["code"]) == (413, "MESSAGE_TOO_LARGE")
    assert len(lengths) == 1


async def test_client_that_leaves_while_sending_gets_no_answer():
    app = HotPaths(forbidden_app, views_for_tests.HOT_PATHS, bodies=MemoryBudget().bodies)

    async def receive():
        return {"type": "http.disconnect"}

    async def send(event):
        raise AssertionError(event)

    scope = {"type": "http", "headers": [], "query_string": b"", "path": "/echo"}
    await app(scope, receive, send)


async def test_client_that_leaves_during_a_long_poll_cancels_the_handler(app):
    views_for_tests.CANCELLED.clear()
    views_for_tests.STARTED = asyncio.Event()
    gone = asyncio.Event()
    request = asyncio.ensure_future(call(app, "GET", "/waiting", gone=gone))
    await views_for_tests.STARTED.wait()
    gone.set()
    assert await asyncio.wait_for(request, 5) is None
    assert views_for_tests.CANCELLED == ["/waiting"]


async def test_watch_over_a_client_that_breaks_is_logged_with_its_traceback(hot_app, caplog):
    views_for_tests.STARTED = asyncio.Event()
    body = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if body:
            return body.pop()
        raise ZeroDivisionError("a bug in the server")

    async def send(event):
        raise AssertionError(event)

    request = asyncio.ensure_future(hot_app(scope_of("GET", "/waiting", {}), receive, send))
    async with asyncio.timeout(5):
        while "ZeroDivisionError: a bug in the server" not in caplog.text:
            await asyncio.sleep(0.01)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


async def test_cancelling_the_request_itself_is_passed_on(hot_app):
    views_for_tests.STARTED = asyncio.Event()
    request = asyncio.ensure_future(call(hot_app, "GET", "/waiting"))
    await views_for_tests.STARTED.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


async def test_whom_a_request_came_from_is_known_while_it_is_answered(settings):
    origins = []

    async def django(scope, receive, send):
        origins.append(ORIGIN.get())

    app = HotPaths(django, {}, bodies=MemoryBudget().bodies)
    told = {"x-queue-origin": "10.0.0.9"}
    token = cluster_token(settings.QUEUE.cluster_secret)
    for headers in ({}, told, {**told, "x-queue-passed": "1"}, {**told, "x-queue-passed": token}):
        await call(app, "GET", "/admin/", headers=headers)
    assert origins == ["127.0.0.1"] * 3 + ["10.0.0.9"]


async def test_what_is_no_http_request_is_passed_on():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await HotPaths(app, {}, bodies=MemoryBudget().bodies)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]


async def test_head_is_answered_as_get(hot_app):
    answer = await call(hot_app, "HEAD", "/echo?topic=a&partition=0&offset=0")
    assert answer.status == 200


async def test_more_requests_than_the_limit_are_refused_at_once(hot_app, monkeypatch):
    monkeypatch.setattr(hotpaths, "REQUESTS_MAX", 1)
    views_for_tests.STARTED = asyncio.Event()
    gone = asyncio.Event()
    waiting = asyncio.ensure_future(call(hot_app, "GET", "/waiting", gone=gone))
    await views_for_tests.STARTED.wait()
    refused = await call(hot_app, "GET", "/echo?topic=a&partition=0&offset=0")
    assert (refused.status, refused.json["code"]) == (503, "OVERLOADED")
    assert refused.headers["retry-after"] == "1"
    gone.set()
    await waiting
    assert (await call(hot_app, "GET", "/echo?topic=a&partition=0&offset=0")).status == 200


def test_a_view_with_plain_handlers_is_no_hot_path():
    with pytest.raises(AssertionError, match="/plain"):
        HotPaths(
            forbidden_app,
            {
                "/plain": views_for_tests.PlainView.as_view(),
                "/echo": views_for_tests.EchoView.as_view(),
            },
            bodies=MemoryBudget().bodies,
        )
