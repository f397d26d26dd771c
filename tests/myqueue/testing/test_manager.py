from __future__ import annotations

from typing import Any

import msgspec
import pytest

from myqueue.contract.http1 import Request
from myqueue.testing.api import MemoryApi
from myqueue.testing.manager import PARTITIONS_BY_DEFAULT
from myqueue.testing.state import MemoryState
from myqueue.transport.blocking import encode_body

MANAGER = "memory://m:80"


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi(MemoryState(MANAGER, ["memory://b:80"]))


def ask(api: MemoryApi, method: str, path: str, **fields: Any) -> dict[str, Any]:
    request = Request(method, path, body=encode_body(fields) if fields else b"")
    body: dict[str, Any] = msgspec.msgpack.decode(api.handle(MANAGER, request).body)
    return body


def test_topics_only_grow(api: MemoryApi) -> None:
    assert (
        ask(api, "POST", "/topics", topic="a", number_of_partitions=2)["number_of_partitions"] == 2
    )
    assert ask(api, "POST", "/topics", topic="a")["code"] == "TOPIC_ALREADY_EXISTS"
    assert len(ask(api, "PATCH", "/topics/a", number_of_partitions=4)["partitions"]) == 4
    assert ask(api, "PATCH", "/topics/a", number_of_partitions=1)["code"] == "INVALID_REQUEST"
    assert ask(api, "PUT", "/topics/a")["code"] == "METHOD_NOT_ALLOWED"
    assert ask(api, "DELETE", "/topics/a")["status"] == "success"
    assert ask(api, "GET", "/topics/a")["code"] == "TOPIC_NOT_FOUND"


def test_brokers_are_listed_and_announced(api: MemoryApi) -> None:
    fields = {"broker_address": "memory://c:80"}
    assert ask(api, "POST", "/brokers", **fields)["status"] == "success"
    assert ask(api, "POST", "/brokers", **fields)["code"] == "BROKER_ALREADY_PRESENT"
    assert ask(api, "GET", "/brokers")["brokers"] == ["memory://b:80", "memory://c:80"]
    assert ask(api, "GET", "/brokers?detail=1")["brokers"][0]["state"] == "alive"


def test_clients_register_and_are_forgotten(api: MemoryApi) -> None:
    assert ask(api, "POST", "/consumer/register", topic="a")["code"] == "TOPIC_NOT_FOUND"
    producer = ask(api, "POST", "/producer/register", topic="a")
    assert producer["message"] == "producer 1 is registered for topic 'a'"
    assert len(api.state.topics["a"]) == PARTITIONS_BY_DEFAULT
    consumer = ask(api, "POST", "/consumer/register", topic="a", start="latest")
    assert consumer["consumer_id"] == producer["producer_id"] + 1
    again = {"topic": "a", "consumer_id": str(consumer["consumer_id"])}
    assert ask(api, "POST", "/consumer/register", token="x", **again)["code"] == "UNAUTHORIZED"
    assert ask(api, "POST", "/consumer/register", token=consumer["token"], **again) == consumer
    assert len(ask(api, "GET", "/consumers?topic=a")["consumers"]) == 1
    assert ask(api, "GET", "/producers?topic=b")["producers"] == []
    assert ask(api, "DELETE", "/consumers/2")["status"] == "success"
    assert ask(api, "DELETE", "/consumers/2")["code"] == "CLIENT_NOT_FOUND"
    assert ask(api, "DELETE", "/other/2")["code"] == "NOT_FOUND"


def test_heartbeats_name_type_and_id(api: MemoryApi) -> None:
    ask(api, "POST", "/producer/register", topic="a")
    assert ask(api, "GET", "/health?type=1&key=1")["status"] == "success"
    assert ask(api, "GET", "/health?type=0&key=1")["code"] == "CLIENT_NOT_FOUND"
    api.state.expired.add(1)
    assert ask(api, "GET", "/health?type=1&key=1")["code"] == "CLIENT_EXPIRED"
