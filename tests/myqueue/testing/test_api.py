from __future__ import annotations

from typing import Any

import msgspec
import pytest

from myqueue.contract.http1 import Request
from myqueue.contract.inputs import JSON
from myqueue.testing.api import MemoryApi
from myqueue.testing.state import MemoryState
from myqueue.transport.blocking import encode_body

MANAGER, BROKER, OTHER = "memory://m:80", "memory://b:80", "memory://c:80"


@pytest.fixture
def api() -> MemoryApi:
    api = MemoryApi(MemoryState(MANAGER, [BROKER, OTHER]))
    api.state.create("logs", 2)
    api.state.clients.update({1: ("producer", "logs"), 2: ("consumer", "logs")})
    return api


def post(api: MemoryApi, address: str, path: str, token: str, **fields: Any) -> dict[str, Any]:
    request = Request("POST", path, body=encode_body(fields), content_type="x", token=token)
    return body_of(api, address, request)


def get(api: MemoryApi, address: str, path: str, token: str = "") -> dict[str, Any]:
    return body_of(api, address, Request("GET", path, token=token))


def body_of(api: MemoryApi, address: str, request: Request) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.msgpack.decode(api.handle(address, request).body)
    return body


def test_leaders_and_managers_take_messages_and_others_name_the_leader(api: MemoryApi) -> None:
    fields = {"topic": "logs", "producer_id": 1, "message": "x", "partition": 1}
    assert post(api, MANAGER, "/producer/produce", "token-1", **fields)["offset"] == 0
    assert post(api, OTHER, "/producer/produce", "token-1", **fields)["offset"] == 1
    refused = post(api, BROKER, "/producer/produce", "token-1", **fields)
    assert (refused["code"], refused["leader"]["address"]) == ("NOT_LEADER", OTHER)
    assert post(api, OTHER, "/producer/produce", "wrong", **fields)["code"] == "UNAUTHORIZED"
    del fields["partition"]
    assert post(api, OTHER, "/producer/produce", "token-1", **fields)["code"] == "INVALID_REQUEST"


def test_json_is_understood(api: MemoryApi) -> None:
    fields = {"topic": "logs", "producer_id": 1, "messages": ["a", "b"], "partition": 0}
    body = msgspec.json.encode(fields)
    request = Request("POST", "/producer/produce", None, body, JSON, token="token-1")
    assert body_of(api, BROKER, request)["offset"] == 0


def test_a_request_is_held_while_there_is_nothing(api: MemoryApi) -> None:
    size = Request("GET", "/size?topic=logs&partition=0&consumer_id=2&wait_ms=500")
    fetch = Request("GET", "/fetch?topic=logs&partition=0&offset=0&wait_ms=700")
    body = {"topic": "logs", "partition": 0, "consumer_id": 2, "wait_ms": 900}
    consume = Request("POST", "/consumer/consume", body=encode_body(body))
    asked = (size, fetch, consume)
    assert [api.is_held(BROKER, one) for one in asked] == [500, 700, 900]
    assert [api.is_held(OTHER, one) for one in asked] == [0, 700, 0]
    api.state.topics["logs"][0].put("x")
    assert [api.is_held(BROKER, one) for one in asked] == [0, 0, 0]
    assert api.is_held(BROKER, Request("GET", "/topics?wait_ms=5")) == 0


def test_a_manager_counts_all_partitions(api: MemoryApi) -> None:
    api.state.topics["logs"][1].put("x", "y")
    found = get(api, MANAGER, "/size?topic=logs&consumer_id=2")
    assert (found["size"], found["sizes"]) == (2, {"0": 0, "1": 2})
    assert get(api, MANAGER, "/size?topic=logs&consumer_id=1")["code"] == "UNAUTHORIZED"
    assert get(api, BROKER, "/size?topic=logs&consumer_id=2", "token-2")["code"] == (
        "INVALID_REQUEST"
    )


def test_brokers_say_what_they_lead(api: MemoryApi) -> None:
    rows = get(api, OTHER, "/partitions?topic=logs")["partitions"]
    assert [row["serves"] for row in rows] == [False, True]
    assert get(api, OTHER, "/partitions?topic=other")["partitions"] == []
    assert get(api, OTHER, "/topics")["code"] == "NOT_FOUND"
    assert get(api, OTHER, "/fetch?topic=logs&partition=9&offset=0")["code"] == (
        "PARTITION_NOT_FOUND"
    )


def test_a_cursor_goes_to_one_place(api: MemoryApi) -> None:
    api.state.topics["logs"][0].put("x", "y")
    fields: dict[str, Any] = {"topic": "logs", "partition": 0, "consumer_id": 2}
    assert post(api, BROKER, "/cursors/reset", "token-2", **fields)["code"] == "INVALID_REQUEST"
    assert post(api, BROKER, "/cursors/reset", "token-2", offset=1, **fields)["offset"] == 1
    assert post(api, BROKER, "/cursors/reset", "token-2", timestamp=9, **fields)["offset"] == 2
