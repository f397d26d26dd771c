from __future__ import annotations

import asyncio
import logging
from itertools import pairwise

import pytest

from http_base import request_marks
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from http_base.request_marks import CURRENT, RequestMark, Waiting, request_id
from http_base.threaded_django import ThreadedDjango
from tests.http_base import views_for_tests
from tests.http_base.asgi_client import call

GOOD = "/echo?topic=a&partition=0&offset=0"
PLAIN = {"accept": "application/json"}


@pytest.fixture
def slow_app(django: ThreadedDjango) -> HotPaths:
    return HotPaths(django, views_for_tests.HOT_PATHS, bodies=MemoryBudget().bodies, slow_ms=50)


@pytest.mark.parametrize("headers", [PLAIN, {"accept": "text/html,application/json"}])
async def test_the_id_that_came_goes_back(hot_app: HotPaths, headers: dict[str, str]) -> None:
    for target, status in ((GOOD, 200), ("/echo?topic=", 400), ("/nowhere", 404)):
        answer = await call(hot_app, "GET", target, headers={**headers, "x-request-id": "a-1:b"})
        assert answer is not None
        assert (answer.status, answer.headers.get("x-request-id")) == (status, "a-1:b")


@pytest.mark.parametrize("wrong", ["", "a b", "x" * 129, 'a"b', "a\\b", "é"])
async def test_an_id_that_is_none_is_not_taken(hot_app: HotPaths, wrong: str) -> None:
    mark = RequestMark()
    mark.take_id(wrong.encode())
    assert mark.known_id == ""
    assert len(mark.id) == 16


async def test_an_id_is_made_for_what_fails_and_for_nothing_else(hot_app: HotPaths) -> None:
    good = await call(hot_app, "GET", GOOD, headers=PLAIN)
    assert "x-request-id" not in good.headers
    made = [
        (await call(hot_app, "GET", "/echo?topic=", headers=PLAIN)).headers["x-request-id"]
        for _ in range(3)
    ]
    assert all(len(one) == 16 for one in made)
    assert all(int(two, 16) - int(one, 16) == 1 for one, two in pairwise(made))


async def test_the_body_of_a_bug_its_header_and_the_log_name_the_same(
    hot_app: HotPaths, caplog: pytest.LogCaptureFixture
) -> None:
    for headers in (PLAIN, {**PLAIN, "x-request-id": "mine"}):
        caplog.clear()
        answer = await call(hot_app, "GET", "/failing?how=bug", headers=headers)
        said = answer.headers["x-request-id"]
        assert (answer.status, answer.json["request_id"]) == (500, said)
        assert said in caplog.text
    assert said == "mine"


async def test_outside_of_a_request_there_is_no_id() -> None:
    assert request_id() == ""
    with Waiting():
        pass
    mark = RequestMark()
    CURRENT.set(mark)
    assert request_id() == mark.id
    mark.is_over = True
    assert request_id() == ""


def test_waits_that_overlap_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((10.0, 13.0, 20.0, 21.0))
    monkeypatch.setattr(request_marks.time, "monotonic", lambda: next(times))
    mark = RequestMark()
    mark.begin_wait()
    mark.begin_wait()
    mark.end_wait()
    mark.end_wait()
    mark.begin_wait()
    mark.end_wait()
    assert mark.waited_s == 4.0


async def test_a_slow_request_is_logged_without_its_query(
    slow_app: HotPaths, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def django(scope, receive, send):
        if scope["query_string"] == b"token=secret&waits":
            with Waiting():
                await asyncio.sleep(0.1)
        else:
            await asyncio.sleep(0.1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = HotPaths(django, {}, bodies=MemoryBudget().bodies, slow_ms=50)
    caplog.set_level(logging.INFO)
    answer = await call(app, "GET", "/slowly?token=secret&waits")
    assert answer.status == 200
    assert caplog.text == ""
    await call(app, "GET", "/slowly?token=secret", headers={"x-request-id": "abc"})
    (line,) = caplog.messages
    assert line.startswith("slow: GET /slowly took 0.1")
    assert "answer 200, client 127.0.0.1" in line
    assert "secret" not in line
