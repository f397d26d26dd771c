from __future__ import annotations

import asyncio
import threading

import pytest
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from http_base.threaded_django import ThreadedDjango
from http_base.worker_threads import WorkerThreads
from tests.eventually import eventually
from tests.http_base.asgi_client import call

HELD = threading.Semaphore(0)
"""One more for each request to `/held` that may end."""
THREADS: list[str] = []


@csrf_exempt
def plain(request):
    THREADS.append(threading.current_thread().name)
    response = HttpResponse(request.read())
    response.set_cookie("seen", "yes")
    return response


def held(request):
    assert HELD.acquire(timeout=30)
    return plain(request)


async def awaited(request):
    return HttpResponse()


urlpatterns = [path("plain", plain), path("held", held), path("awaited", awaited)]


@pytest.fixture(autouse=True)
def urls_of_this_file(settings):
    settings.ROOT_URLCONF = __name__
    THREADS.clear()


@pytest.fixture
def others():
    """The paths that came to the application behind."""
    return []


@pytest.fixture
def app(others):
    async def behind(scope, receive, send):
        others.append(scope["path"])

    threads = WorkerThreads(1, name="request")
    yield ThreadedDjango(behind, threads, turn_limit_s=0.05)
    threads.close()


async def test_a_plain_view_is_answered_in_a_thread(app, others):
    answer = await call(app, "POST", "/plain", body=[b"a", b"b"])
    assert (answer.status, answer.body) == (200, b"ab")
    assert answer.headers["set-cookie"].startswith("seen=yes")
    assert answer.headers["x-frame-options"] == "DENY"
    assert THREADS == ["request_0"]
    assert others == []


@pytest.mark.parametrize("target", ["/awaited", "/unknown"])
async def test_the_rest_goes_to_the_application_behind(app, others, target):
    await call(app, "GET", target)
    assert others == [target]


async def test_a_request_whose_turn_does_not_come_is_refused_and_does_not_happen(app):
    first = asyncio.ensure_future(call(app, "GET", "/held"))
    await eventually(lambda: first.done() or app._threads._threads, "a thread has it")
    refused = await call(app, "GET", "/plain")
    HELD.release()
    assert (refused.status, refused.json["code"]) == (503, "OVERLOADED")
    assert refused.json["retry_after_ms"]
    assert (await first).status == 200  # it took longer than the limit, but had begun
    assert len(THREADS) == 1
