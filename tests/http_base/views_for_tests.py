"""Views and URLs that the tests of the HTTP base call both ways."""

from __future__ import annotations

import asyncio

from django.urls import path
from msgspec import UNSET, UnsetType

from http_base.access import OPEN
from http_base.apidoc import describe
from http_base.calls import StoredBatches, read_call, require_cluster
from http_base.docs import docs_urls
from http_base.exceptions import handler404 as handler404
from http_base.exceptions import handler500 as handler500
from http_base.messages import message_answer, popped_answer
from http_base.metrics import MetricsView
from http_base.views import ApiView, served_by
from myqueue.contract.answers import DONE, Success
from myqueue.contract.errors import CommitTimeout, NotLeader, Overloaded
from myqueue.contract.inputs import Fetch, Produce, ProduceBatch, TopicCreate
from myqueue.contract.records import Record

CANCELLED: list[str] = []
STARTED = asyncio.Event()
"""Made anew by each test, in its loop."""
PAUSE = asyncio.Event()
"""The same: what `SlowView` waits for."""


class Echo(Success, frozen=True):
    """Answers with what was read."""

    topic: str
    bytes: int | UnsetType = UNSET
    offset: int | UnsetType = UNSET


@describe(
    summary="Echo",
    access=OPEN,
    input=Produce,
    answer=Echo(topic="logs"),
    tags=["produce"],
    batches=True,
)
async def echo(call):
    """Answer with the message that was read."""
    if isinstance(call.data, bytes):
        query = read_call(call, ProduceBatch)
        return Echo(topic=query.topic, bytes=len(call.data))
    produce = read_call(call, Produce)
    record = Record("" if produce.message is UNSET else produce.message, timestamp=7)
    message = message_answer(
        record, topic=produce.topic, partition=0, offset=0, binary=call.takes_msgpack
    )
    return popped_answer(message, missed=0, corrupt=0)


@describe(summary="Fetch", access=OPEN, input=Fetch, query=True, batches=True)
async def echo_query(call):
    """Answer with the query, or with batches."""
    fetch = read_call(call, Fetch)
    if call.takes_batches:
        return StoredBatches(b"QB\x00\xff", {"X-High-Watermark": "7"})
    return Echo(topic=fetch.topic, offset=fetch.offset)


class EchoView(ApiView):
    """Answers with what it read."""

    get = served_by(echo_query)
    post = served_by(echo)


class FailingView(ApiView):
    """Fails in the way that the query names."""

    async def get(self, request):
        match request.query_params.get("how"):
            case "bug":
                raise ZeroDivisionError("a secret of the server")
            case "overloaded":
                raise Overloaded("full", retry_after_ms=1_200)
            case "leader":
                raise NotLeader(leader={"broker_id": 2, "address": "http://127.0.0.1:8002"})
            case _:
                raise CommitTimeout

    async def post(self, request):
        raise ZeroDivisionError("a secret of the server")


class WaitingView(ApiView):
    """Waits until it is cancelled."""

    async def get(self, request):
        try:
            STARTED.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            CANCELLED.append(request.path)
            raise


@describe(summary="Wait", access=OPEN)
async def slow(call):
    """Answer when `PAUSE` is set."""
    STARTED.set()
    try:
        await PAUSE.wait()
    except asyncio.CancelledError:
        CANCELLED.append("/slow")
        raise
    return Echo(topic="slow")


@describe(summary="Fail", access=OPEN)
async def buggy(call):
    """Fail as nobody expects."""
    raise ZeroDivisionError("a secret of the server")


class SlowView(ApiView):
    """Waits for a test."""

    get = served_by(slow)


class BuggyView(ApiView):
    """Fails."""

    get = served_by(buggy)


class InternalView(ApiView):
    """Takes the cluster's token only."""

    async def get(self, request):
        require_cluster(request)
        return self.respond(DONE)


class PlainView(ApiView):
    """An ordinary view."""

    @describe(summary="Create a topic", access=OPEN, input=TopicCreate, tags=["topics"], status=201)
    def post(self, request, **kwargs):
        topic = self.read(request, TopicCreate)
        return self.respond(Echo(topic=topic.topic), status=201)


def broken_view(request):
    """Fail outside any API view."""
    raise ZeroDivisionError("a secret of the server")


urlpatterns = [
    *docs_urls,
    path("echo", EchoView.as_view()),
    path("failing", FailingView.as_view()),
    path("waiting", WaitingView.as_view()),
    path("internal", InternalView.as_view()),
    path("metrics", MetricsView.as_view()),
    path("plain/<name>", PlainView.as_view()),
    path("broken", broken_view),
]
HOT_PATHS = {
    "/echo": EchoView.as_view(),
    "/failing": FailingView.as_view(),
    "/waiting": WaitingView.as_view(),
    "/internal": InternalView.as_view(),
    "/slow": SlowView.as_view(),
    "/buggy": BuggyView.as_view(),
    "/metrics": MetricsView.as_view(),
}
