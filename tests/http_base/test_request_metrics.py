"""Requests are counted with their operation and code, whichever way they take."""

from __future__ import annotations

import threading
from time import perf_counter

import pytest

from http_base import request_metrics
from http_base.request_marks import CURRENT, RequestMark
from http_base.request_metrics import REQUEST_TIMES, RequestTimes, seconds_since
from myqueue.contract.inputs import MSGPACK
from tests.http_base.asgi_client import call


def counted() -> dict[tuple[str, str], int]:
    """Return (operation, code) -> requests so far."""
    return {
        (sample.labels["operation"], sample.labels["code"]): int(sample.value)
        for sample in REQUEST_TIMES.family().samples
        if sample.name.endswith("_count")
    }


@pytest.fixture
def new():
    """Return a function that returns what was counted since the last time."""
    before = counted()

    def look():
        nonlocal before
        now = counted()
        found = {key: count - before.get(key, 0) for key, count in now.items()}
        before = now
        return {key: count for key, count in found.items() if count}

    return look


async def test_views_and_operations_are_counted_alike(send, new):
    for accept in (MSGPACK, "application/json, text/html;q=0.5"):
        await send("GET", "/echo?topic=logs&partition=0&offset=3", headers={"accept": accept})
        await send("GET", "/echo?offset=x", headers={"accept": accept})
    codes = {("GET /echo", "ok"): 2, ("GET /echo", "INVALID_REQUEST"): 2}
    assert new() == codes


async def test_a_method_that_nobody_knows_is_one_operation(send, new):
    for method in ("BREW", "DELETE"):
        await send(method, "/plain/x")
    assert new() == {
        ("other /plain/{name}", "METHOD_NOT_ALLOWED"): 1,
        ("DELETE /plain/{name}", "METHOD_NOT_ALLOWED"): 1,
    }


async def test_metrics_are_prometheus_text_with_the_requests(hot_app, new):
    await call(hot_app, "GET", "/echo?topic=logs&partition=0&offset=3")
    text = (await call(hot_app, "GET", "/metrics")).body.decode()
    assert 'queue_http_request_seconds_count{code="ok",operation="GET /echo"}' in text
    assert "_created" not in text
    assert 'queue_build_info{python="3.' in text


def test_a_parameter_of_a_path_is_no_operation_of_its_own():
    times = RequestTimes()
    times.add("GET", "brokers/<int:broker_id>", "ok", 0.2)
    times.add("GET", "topics/<str:topic>/partitions/<int:partition>/loss", "ok", 0.2)
    shown = {sample.labels["operation"] for sample in times.family().samples}
    assert shown == {"GET /brokers/{broker_id}", "GET /topics/{topic}/partitions/{partition}/loss"}


def test_there_are_no_more_operations_than_the_limit(monkeypatch):
    monkeypatch.setattr(request_metrics, "OPERATIONS_MAX", 2)
    times = RequestTimes()
    for number in range(5):
        times.add("GET", f"path-{number}", "ok", 0.2)
    shown = {
        sample.labels["operation"]: sample.value
        for sample in times.family().samples
        if sample.name.endswith("_count")
    }
    assert shown == {"GET /path-0": 1, "GET /path-1": 1, "other": 3}


def test_threads_lose_no_count():
    times = RequestTimes()

    def work():
        for _ in range(5_000):
            times.add("GET", "topics", "ok", 0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert times["GET", "/topics", "ok"].cumulated()[-1] == 20_000


def test_a_wait_for_messages_is_no_work():
    begun_s = perf_counter() - 10
    assert 10 <= seconds_since(begun_s) < 60
    mark = RequestMark()
    mark.waited_s = 9.0
    token = CURRENT.set(mark)
    try:
        assert 1 <= seconds_since(begun_s) < 51
    finally:
        CURRENT.reset(token)
