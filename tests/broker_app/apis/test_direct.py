"""Direct answers: which calls get them, and that they are what the views answer.

`DIRECT_SEED` repeats the random requests of a run.
"""

from __future__ import annotations

import os
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
import pytest
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler

from broker_app import runtime as runtimes
from broker_app.apis import produce
from broker_app.urls import HOT_PATHS
from http_base import hotpaths
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from http_base.tokens import cluster_token
from http_base.views import operations_of
from myqueue.contract.inputs import BATCH, JSON, MSGPACK
from tests.broker_app.apis.conftest import token_of
from tests.broker_app.engine_twin import EngineTwin, runtime_over
from tests.broker_app.replica import batch_of
from tests.http_base.asgi_client import call

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.http_base.asgi_client import Answer

SEED = int(os.environ.get("DIRECT_SEED", "0")) or Random().randrange(1 << 32)
REQUESTS = 1_500
NOW_MS = 1_700_000_000_000
PLACE: dict[str, Any] = {"topic": "logs", "partition": 0}
CALLS: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/producer/produce"): {"producer_id": 1, "message": "x"},
    ("POST", "/consumer/consume"): {"consumer_id": 1, "max_messages": 2},
    ("GET", "/consumer/consume"): {"consumer_id": 1},
    ("GET", "/fetch"): {"offset": 0},
    ("POST", "/fetch"): {"partitions": [PLACE | {"offset": 0}]},
    ("GET", "/size"): {"consumer_id": 1, "request_id": "r"},
    ("POST", "/messages/receive"): {"group": "g", "max_messages": 2},
    ("POST", "/messages/ack"): {"group": "g", "receipts": ["0.0.1", "1.1.1"]},
    ("POST", "/messages/nack"): {"group": "g", "receipts": ["0.0.1"], "delay_ms": 0},
    ("POST", "/messages/extend"): {"group": "g", "receipts": ["2.2.1"], "visibility_ms": 9},
    ("GET", "/offsets"): {"group": "billing"},
    ("POST", "/offsets/commit"): {"group": "billing", "generation": 3, "offset": 1},
    ("GET", "/offsets/by-time"): {"timestamp": NOW_MS},
    ("POST", "/cursors/reset"): {"consumer_id": 1, "offset": 0},
    ("GET", "/partitions"): {"limit": 1},
}
"""What the library and managers ask of a broker, with fields that are right."""
ODD: list[Any] = [None, -1, 0, 7, 1 << 40, (1 << 64) - 1, "", "7", "latest", "ä\x00", [], {}, True]
"""Values that a field is tried with."""


def fields_of(method: str, path: str) -> dict[str, Any]:
    """Return the fields of a call that is right."""
    fields = CALLS[method, path]
    return dict(fields) if "partitions" in fields else PLACE | fields


class Sent(msgspec.Struct):
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    async def to(self, app: Any) -> Answer:
        """Send it to an application."""
        headers = {**self.headers, "x-request-id": "the-same"}
        answer = await call(app, self.method, self.target, headers=headers, body=self.body)
        assert answer is not None
        return answer


def request_of(method: str, path: str, fields: dict[str, Any], **headers: str) -> Sent:
    """Return a request as the library makes it: with a query, or a body of MessagePack."""
    secret = django_settings.QUEUE.cluster_secret
    usual = {"authorization": f"Bearer {cluster_token(secret)}", "accept": MSGPACK}
    if method == "GET":
        return Sent(method, f"{path}?{urlencode(fields)}", usual | headers, b"")
    body = msgspec.msgpack.encode(fields)
    return Sent(method, path, usual | {"content-type": MSGPACK} | headers, body)


def refuse(*_: Any) -> None:
    """Stand for a view that nobody may ask."""
    raise AssertionError("a view was asked")


@pytest.fixture
def no_views(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The application, in which nothing that reaches a view is answered."""
    monkeypatch.setattr(hotpaths, "HotRequest", refuse)
    return HotPaths(ASGIHandler(), HOT_PATHS, bodies=MemoryBudget().bodies)


def test_every_operation_is_known_here() -> None:
    served = {(method, path) for path, view in HOT_PATHS.items() for method in operations_of(view)}
    assert served == CALLS.keys()


@pytest.mark.usefixtures("runtime", "replica")
@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_a_call_of_the_library_reaches_no_view(no_views: Any, method: str, path: str) -> None:
    for before in ("/producer/produce", "/offsets/commit"):
        await request_of("POST", before, fields_of("POST", before)).to(no_views)
    answer = await request_of(method, path, fields_of(method, path)).to(no_views)
    assert (answer.status, answer.headers["content-type"]) == (200, MSGPACK)
    assert msgspec.msgpack.decode(answer.body)["status"] == "success"


@pytest.mark.usefixtures("runtime", "replica")
@pytest.mark.parametrize("accept", ["", "*/*", JSON])
@pytest.mark.parametrize("content_type", ["", JSON, f"{JSON}; charset=utf-8"])
async def test_a_call_in_json_reaches_no_view(
    no_views: Any, accept: str, content_type: str
) -> None:
    fields = fields_of("POST", "/producer/produce")
    sent = request_of(
        "POST", "/producer/produce", fields, **{"accept": accept, "content-type": content_type}
    )
    sent.body = msgspec.json.encode(fields)
    answer = await sent.to(no_views)
    assert (answer.status, answer.headers["content-type"]) == (200, JSON)
    assert answer.json["base_offset"] == 0


@pytest.mark.usefixtures("runtime", "replica")
async def test_record_batches_reach_no_view(no_views: Any) -> None:
    batch = batch_of("x").batch
    query = urlencode({**PLACE, "producer_id": 1})
    sent = request_of("POST", f"/producer/produce?{query}", {}, **{"content-type": BATCH})
    sent.body = batch
    assert (await sent.to(no_views)).status == 200
    answer = await request_of("GET", "/fetch", {**PLACE, "offset": 0}, accept=BATCH).to(no_views)
    assert (answer.status, answer.headers["content-type"]) == (200, BATCH)
    assert answer.headers["x-high-watermark"] == "1"
    assert batch[-20:] in answer.body


@pytest.mark.usefixtures("runtime", "replica")
@pytest.mark.parametrize(
    "headers",
    [
        {"accept": "application/*"},
        {"accept": f"{MSGPACK}, {JSON}"},
        {"accept": f"{MSGPACK};q=1"},
        {"accept": f"{JSON}; indent=4"},
        {"accept": "text/html"},
    ],
)
async def test_what_has_to_be_negotiated_is_left_to_the_view(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(hotpaths, "answer_directly", lambda *args, **_: asked.append(args))
    app = HotPaths(ASGIHandler(), HOT_PATHS, bodies=MemoryBudget().bodies)
    await request_of("POST", "/producer/produce", {"topic": "logs"}, **headers).to(app)
    assert asked == []


@pytest.mark.usefixtures("runtime", "replica")
async def test_a_bug_is_answered_and_logged(
    monkeypatch: pytest.MonkeyPatch, no_views: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a secret of the server")

    monkeypatch.setattr(produce, "messages_produce", broken)
    fields = fields_of("POST", "/producer/produce")
    answer = await request_of("POST", "/producer/produce", fields).to(no_views)
    failure = msgspec.msgpack.decode(answer.body)
    assert (answer.status, failure["code"], failure["outcome"]) == (500, "INTERNAL", "unknown")
    assert "secret" not in failure["message"]
    assert "a secret of the server" in caplog.text


# --- the same answers -------------------------------------------------------------------------


class RandomRequests:
    """Requests of the library and of other programs, most of them with something wrong."""

    def __init__(self, random: Random) -> None:
        self._random = random
        secret = cluster_token(django_settings.QUEUE.cluster_secret)
        self._tokens = [secret] * 5 + [
            "nonsense",
            *(token_of(kind, 1) for kind in ("producer", "consumer")),
            token_of("consumer", 2),
            token_of("producer", 1, "other"),
            token_of("consumer", 1, age_ms=90 * 24 * 3_600_000),
        ]

    def next(self) -> Sent:
        """Return one more."""
        random = self._random
        method, path = random.choice(list(CALLS))
        fields = fields_of(method, path)
        for _ in range(random.choice([0, 0, 0, 1, 1, 2])):
            self._spoil(fields)
        headers = {"authorization": f"Bearer {random.choice(self._tokens)}"}
        if random.random() < 0.05:
            headers["authorization"] = random.choice(["", "Basic x", "Bearer", "bearer  "])
        if random.random() < 0.5:
            headers["accept"] = random.choice([BATCH, JSON, "*/*", ""])
        sent = request_of(method, path, fields, **headers)
        if sent.body and random.random() < 0.5:
            self._turn_into_json(sent, fields)
        if path == "/producer/produce" and random.random() < 0.5:
            self._turn_into_batch(sent, fields)
        if sent.body and random.random() < 0.1:
            sent.body = self._damaged(sent.body)
        if random.random() < 0.1:
            sent.target += random.choice(["?", "&"]) + random.choice(
                ["topic=logs", "topic=other", "offset=%ff", "x", "partition=1", "=", "timeout_ms=0"]
            )
        return sent

    def _spoil(self, fields: dict[str, Any]) -> None:
        random = self._random
        name = random.choice([*fields, "token", "wait_ms", "request_id", "name", "part", "odd"])
        match random.randrange(3):
            case 0:
                fields.pop(name, None)
            case 1:
                fields[name] = random.choice(ODD)
            case _:
                fields[random.choice(["max_bytes", "message", "key", "headers"])] = name
        if isinstance(fields.get("wait_ms"), int):
            fields["wait_ms"] = min(fields["wait_ms"], 1)

    def _turn_into_json(self, sent: Sent, fields: dict[str, Any]) -> None:
        types = [
            JSON,
            f"{JSON}; charset=utf-8",
            "",
            "text/odd",
            "application/x-www-form-urlencoded",
        ]
        sent.headers["content-type"] = self._random.choice(types)
        sent.body = msgspec.json.encode(fields)

    def _turn_into_batch(self, sent: Sent, fields: dict[str, Any]) -> None:
        fields.pop("message", None)
        sent.target = f"/producer/produce?{urlencode(fields)}"
        sent.headers["content-type"] = BATCH
        sent.body = batch_of("x", "y", producer_id=self._random.choice([0, 1, 2])).batch

    def _damaged(self, body: bytes) -> bytes:
        at = self._random.randrange(len(body))
        return body[:at] + self._random.choice([b"", b"\xc1", b"\xff"]) + body[at + 1 :]


async def test_view_and_operation_answer_alike(
    runtime: BrokerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two brokers get the same requests; one has no operations beside its views, one no views."""
    monkeypatch.setattr(produce, "time", SimpleNamespace(time_ns=lambda: NOW_MS * 1_000_000))
    requests, seen, no_table = RandomRequests(Random(SEED)), set(), dict.fromkeys(HOT_PATHS, refuse)
    ways: list[tuple[BrokerRuntime, Any]] = []
    for table in ("_operations", "_table"):
        engine, app = EngineTwin(), HotPaths(ASGIHandler(), HOT_PATHS, bodies=MemoryBudget().bodies)
        engine.add()
        monkeypatch.setattr(app, table, {} if table == "_operations" else no_table)
        ways.append((runtime_over(engine), app))
    for number in range(REQUESTS):
        sent = requests.next()
        answers = []
        for broker, app in ways:
            runtimes.install(broker)
            answers.append(await sent.to(app))
        viewed, direct = answers
        assert viewed == direct, (SEED, number, sent)
        assert viewed.status != 500, (SEED, number, sent)
        seen.add((sent.method, sent.target.partition("?")[0], viewed.status))
    assert {(method, path) for method, path, status in seen if status == 200} == CALLS.keys()
    assert {400, 401, 404} <= {status for *_, status in seen}
