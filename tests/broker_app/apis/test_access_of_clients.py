"""Calls with the token of a registration, on a broker that asks who registered."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler
from msgspec.structs import replace

from broker_app.known_tokens import guard_of
from broker_app.urls import DOOR, HOT_PATHS
from http_base import guard
from http_base.access import AccessTable, Holder, TopicRight, hash_of
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from http_base.tokens import ClientToken, sign_client
from tests.broker_app.apis.conftest import Api, DirectApi
from tests.queuesite.test_access_of_every_call import NEEDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import ReplicaTwin

PLACE = {"topic": "logs", "partition": 0}
GROUP = {"group": "g"}
CALLS: dict[str, dict[str, Any]] = {
    "POST /producer/produce": {"producer_id": 7, "message": "x"},
    "GET /consumer/consume": {"consumer_id": 7},
    "POST /consumer/consume": {"consumer_id": 7, "max_messages": 1},
    "GET /size": {"consumer_id": 7},
    "POST /cursors/reset": {"consumer_id": 7, "offset": 0},
    "GET /fetch": {"offset": 0},
    "GET /offsets": GROUP,
    "GET /offsets/by-time": {"timestamp": 0},
    "POST /offsets/commit": {**GROUP, "generation": 1, "offset": 0},
    "POST /messages/receive": GROUP,
    "POST /messages/ack": {**GROUP, "receipts": ["0.0.1"]},
    "POST /messages/nack": {**GROUP, "receipts": ["0.0.1"]},
    "POST /messages/extend": {**GROUP, "receipts": ["0.0.1"]},
}
HOLDERS = [
    Holder(
        origin="token-1",
        name="a",
        hash=hash_of("qs_a"),
        rights=(TopicRight("logs", ("produce", "consume")),),
    ),
    Holder(origin="token-2", name="b", rights=(TopicRight("other", ("produce", "consume")),)),
    Holder(
        origin="token-3", name="c", rights=(TopicRight("*", ("produce", "consume")),), expires_ms=1
    ),
]
GONE = Holder(origin="token-6", name="d", rights=(TopicRight("logs", ("produce", "consume")),))


def token_of(kind: str, origin: str, topic: str = "logs") -> str:
    claims = ClientToken(kind, 7, topic, time.time_ns() // 1_000_000, origin)
    return sign_client(django_settings.QUEUE.cluster_secret, claims)


@pytest.fixture(params=["django alone", "direct"])
def api(request: Any, settings: Any, runtime: BrokerRuntime, replica: ReplicaTwin) -> Iterator[Api]:
    """The API of a broker with QUEUE_AUTH=required that leads partition 0 of topic logs."""
    settings.QUEUE = replace(settings.QUEUE, auth="required")
    guard.install(guard_of(runtime, settings.QUEUE.cluster_secret))
    app = ASGIHandler()
    hot = HotPaths(app, HOT_PATHS, bodies=MemoryBudget().bodies, door=DOOR)
    yield DirectApi(hot) if request.param == "direct" else Api(app)
    guard.install(None)


async def ask(api: Api, name: str, bearer: str) -> tuple[int, str]:
    method, path = name.split()
    fields = PLACE | CALLS[name]
    way: dict[str, Any] = {"query": fields} if method == "GET" else {"body": fields}
    answer = await api.send(method, path, bearer=bearer, **way)
    return answer.status, answer.json.get("code", "")


def test_every_such_call_is_asked_here() -> None:
    needs = {name for name, need in NEEDS["broker"].items() if need == "client's token"}
    assert needs == CALLS.keys() | {"POST /fetch"}


async def test_who_registered_must_still_have_the_right(api: Api, runtime: BrokerRuntime) -> None:
    runtime.learn_access(AccessTable.of([*HOLDERS, GONE]))
    runtime.learn_access(AccessTable.of(HOLDERS))
    for name in CALLS:
        own, other = ("producer", "consumer") if "produce" in name else ("consumer", "producer")
        for token, expected in (
            ("", (401, "UNAUTHORIZED")),
            ("qs_a", (401, "UNAUTHORIZED")),
            (token_of(other, "token-1"), (401, "UNAUTHORIZED")),
            (token_of(own, "token-2", "other"), (401, "UNAUTHORIZED")),
            (token_of(own, ""), (401, "CLIENT_EXPIRED")),
            (token_of(own, "token-9"), (503, "NOT_READY")),
            (token_of(own, GONE.origin), (401, "UNAUTHORIZED")),
            (token_of(own, "token-3"), (401, "UNAUTHORIZED")),
            (token_of(own, "token-2"), (403, "FORBIDDEN")),
        ):
            assert await ask(api, name, token) == expected, (name, token)
        assert (await ask(api, name, token_of(own, "token-1")))[0] not in (401, 403), name


async def test_dead_letters_go_only_where_the_worker_may_produce(
    api: Api, runtime: BrokerRuntime
) -> None:
    token, body = token_of("consumer", "token-5"), PLACE | GROUP
    receive = partial(api.send, "POST", "/messages/receive", bearer=token)
    unknown = await receive(body={**body, "dead_letter_topic": "mine"})
    assert (unknown.status, unknown.json["code"]) == (503, "NOT_READY"), "no manager was heard yet"
    rights = (TopicRight("logs", ("consume",)), TopicRight("mine", ("produce",)))
    worker = Holder(origin="token-5", name="w", rights=rights)
    runtime.learn_access(AccessTable.of([worker]))
    for name, status in ((None, 200), ("logs.dead", 200), ("mine", 200), ("payments", 403)):
        answer = await receive(body={**body, "dead_letter_topic": name})
        assert answer.status == status, (name, answer)
    refused = (answer.json["code"], answer.json["missing"], answer.json["topic"])
    assert refused == ("FORBIDDEN", "produce", "payments")


async def test_the_parts_of_a_fetch_of_several_are_judged_one_by_one(
    api: Api, runtime: BrokerRuntime
) -> None:
    runtime.learn_access(AccessTable.of([*HOLDERS, GONE]))
    runtime.learn_access(AccessTable.of(HOLDERS))
    part = {**PLACE, "offset": 0}
    for token, code in (
        (token_of("consumer", "token-1"), None),
        (token_of("consumer", "token-2"), "FORBIDDEN"),
        (token_of("producer", "token-1"), "UNAUTHORIZED"),
        (token_of("consumer", "token-9"), "NOT_READY"),
        (token_of("consumer", GONE.origin), "UNAUTHORIZED"),
    ):
        fields = {"partitions": [part], "tokens": {"logs": token}}
        answer = await api.send("POST", "/fetch", body=fields, bearer="qs_a")
        refused = [one["error"]["code"] for one in answer.json["partitions"] if "error" in one]
        assert refused == ([code] if code else []), answer


async def test_without_word_of_a_manager_what_was_signed_counts(api: Api) -> None:
    name = "POST /producer/produce"
    assert (await ask(api, name, token_of("producer", "token-9")))[0] == 200
    assert (await ask(api, name, token_of("consumer", "token-9")))[0] == 401
    assert await ask(api, name, token_of("producer", "")) == (401, "CLIENT_EXPIRED")
    shown = await api.send("GET", "/partitions", query={"topic": "logs"}, bearer="qs_a")
    assert (shown.status, shown.json["code"]) == (503, "NOT_READY")


async def test_an_api_token_shows_partitions_and_metrics(api: Api, runtime: BrokerRuntime) -> None:
    viewer = Holder(origin="token-4", name="v", hash=hash_of("qs_v"), role=1)
    runtime.learn_access(AccessTable.of([*HOLDERS, viewer]))
    for path, query, token, status in (
        ("/partitions", {"topic": "logs"}, "qs_a", 200),
        ("/partitions", {"topic": "other"}, "qs_a", 403),
        ("/partitions", {}, "qs_v", 200),
        ("/metrics", {}, "qs_a", 403),
        ("/metrics", {}, "qs_v", 200),
        ("/metrics", {}, "", 401),
    ):
        assert (await api.send("GET", path, query=query, bearer=token)).status == status, path
    runtime.learn_access(AccessTable.of(HOLDERS))
    assert (await api.send("GET", "/metrics", bearer="qs_v")).status == 401
