from __future__ import annotations

from typing import Any

import pytest

from myqueue.contract.errors import InvalidRequest, OffsetOutOfRange, QueueError, from_body
from myqueue.contract.http1 import Request
from myqueue.contract.inputs import MSGPACK
from myqueue.testing.api import MemoryApi
from myqueue.testing.state import MemoryState, decoded
from myqueue.transport.blocking import encode_body, read_body

ACK, NACK, EXTEND = "/messages/ack", "/messages/nack", "/messages/extend"
MINE = "token-1"


def call(api: MemoryApi, path: str, token: str = MINE, **fields: Any) -> dict[str, Any]:
    body = encode_body({"topic": "logs", "partition": 0, "group": "g", **fields})
    request = Request("POST", path, body=body, content_type=MSGPACK, accept=MSGPACK, token=token)
    assert decoded(request)
    return read_body(api.handle("broker", request))


@pytest.fixture
def api() -> MemoryApi:
    api = MemoryApi(MemoryState("manager", ["broker"]))
    api.state.create("logs", 1)[0].put("a", "b")
    api.state.clients[1] = ("consumer", "logs")
    return api


def test_a_call_without_a_consumers_token_is_refused(api: MemoryApi) -> None:
    for token in ("", "token-2", "secret"):
        with pytest.raises(QueueError) as caught:
            call(api, "/messages/receive", token)
        assert caught.value.code == "UNAUTHORIZED"
    assert from_body(401, {"code": "UNAUTHORIZED"}).http_status == 401


def test_impossible_numbers_are_refused(api: MemoryApi) -> None:
    for fields in ({"max_messages": -1}, {"visibility_ms": 0}, {"delivery_limit": 0}):
        with pytest.raises(InvalidRequest):
            call(api, "/messages/receive", **fields)
    with pytest.raises(InvalidRequest):
        call(api, ACK, receipts=[])
    assert call(api, ACK, receipts=["1.2.3"])["results"][0]["reason"] == "unknown"


def test_looking_delivers_nothing_and_makes_the_group(api: MemoryApi) -> None:
    assert call(api, "/messages/receive", max_messages=0, start="latest")["messages"] == []
    api.state.topics["logs"][0].put("c")
    (found,) = call(api, "/messages/receive", max_messages=5)["messages"]
    assert (found["message"], found["delivery_count"]) == ("c", 1)


def test_a_dead_message_is_an_ordinary_message_of_another_topic(api: MemoryApi) -> None:
    found = call(api, "/messages/receive", max_messages=2, delivery_limit=1)["messages"]
    receipts = [one["receipt"] for one in found]
    assert [one["reason"] for one in call(api, NACK, receipts=receipts)["results"]] == ["dead"] * 2
    (letters,) = api.state.topics["logs.dead"]
    assert letters.values == ["a", "b"]
    assert (letters.records[1].headers or {})["dead-letter-offset"] == "1"
    with pytest.raises(OffsetOutOfRange):
        letters.check_offset(3)


def test_receipts_are_judged_as_by_a_broker(
    api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = [0]
    monkeypatch.setattr(api.state, "now_ms", lambda: now_ms[0])

    def receive(limit: int) -> list[dict[str, Any]]:
        answer = call(api, "/messages/receive", max_messages=limit, visibility_ms=100)
        found: list[dict[str, Any]] = answer["messages"]
        return found

    def settle(path: str, receipt: str, **fields: Any) -> tuple[bool, str]:
        (result,) = call(api, path, receipts=[receipt], **fields)["results"]
        return result["done"], result.get("reason", "")

    (first,) = receive(1)
    assert settle(NACK, first["receipt"], delay_ms=5) == (True, "")
    assert receive(5)[0]["offset"] == 1
    now_ms[0] = 5
    (again,) = receive(5)
    assert (again["offset"], again["delivery_count"]) == (0, 2)
    assert settle(EXTEND, first["receipt"]) == (False, "superseded")
    assert settle(EXTEND, again["receipt"], visibility_ms=500) == (True, "")
    now_ms[0] = 400
    (other,) = receive(5)
    assert (other["offset"], other["delivery_count"]) == (1, 2)
    assert settle(ACK, again["receipt"]) == (True, "")
    assert settle(ACK, again["receipt"]) == (True, "settled")
    with pytest.raises(InvalidRequest, match="no receipt"):
        settle(ACK, "9.x.1")


def test_a_receive_is_held_until_something_comes_back(
    api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.state, "now_ms", lambda: 0)
    fields = {"topic": "logs", "partition": 0, "group": "g", "wait_ms": 900}
    request = Request("POST", "/messages/receive", body=encode_body(fields), token=MINE)
    assert api.is_held("broker", request) == 0
    call(api, "/messages/receive", max_messages=2, visibility_ms=700)
    assert api.is_held("broker", request) == 700


def test_a_group_changes_hands_when_nothing_is_out(api: MemoryApi) -> None:
    (found,) = call(api, "/messages/receive")["messages"]
    commit = {"generation": 1}
    with pytest.raises(InvalidRequest, match="messages out"):
        call(api, "/offsets/commit", **commit)
    call(api, ACK, receipts=[found["receipt"]])
    assert call(api, "/offsets/commit", **commit)["offset"] == 1
    with pytest.raises(InvalidRequest, match="used by consumers"):
        call(api, "/messages/receive")
