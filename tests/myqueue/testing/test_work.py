from __future__ import annotations

from typing import Any

import pytest

from myqueue.contract.errors import InvalidRequest, OffsetOutOfRange, QueueError, from_body
from myqueue.contract.inputs import MSGPACK
from myqueue.testing.api import MemoryApi
from myqueue.testing.state import decoded
from myqueue.testing.work import UNSETTLED_MAX, MemoryWork
from myqueue.transport.blocking import encode_body, read_body
from myqueue.transport.http1 import Request

ACK, NACK, EXTEND = "/messages/ack", "/messages/nack", "/messages/extend"


def take(work: MemoryWork, now_ms: int, limit: int = 10, end: int = 3) -> list[tuple[int, int]]:
    return work.receive(now_ms, end=end, limit=limit, visibility_ms=100)


def test_what_came_back_is_delivered_before_what_is_new() -> None:
    work = MemoryWork(9, 0)
    assert take(work, 0, 2) == [(0, 1), (1, 1)]
    assert work.settle(ACK, "9.0.1", visible_at_ms=0) == (True, "")
    assert work.comes_back_in_ms(40) == 60
    assert take(work, 100) == [(1, 2), (2, 1)]
    assert work.offset == 1
    assert take(work, 150) == []


def test_receipts_are_judged_by_delivery_and_group() -> None:
    work = MemoryWork(9, 0)
    take(work, 0, 1)
    assert work.settle(ACK, "8.0.1", visible_at_ms=0) == (False, "unknown")
    assert work.settle(ACK, "9.1.1", visible_at_ms=0) == (False, "unknown")
    assert work.settle(ACK, "9.0.2", visible_at_ms=0) == (False, "unknown")
    assert work.settle(NACK, "9.0.1", visible_at_ms=5) == (True, "")
    assert take(work, 5, 1) == [(0, 2)]
    assert work.settle(EXTEND, "9.0.1", visible_at_ms=9) == (False, "superseded")
    assert work.settle(EXTEND, "9.0.2", visible_at_ms=500) == (True, "")
    assert take(work, 400, 1, end=1) == []
    assert work.settle(ACK, "9.0.2", visible_at_ms=0) == (True, "")
    assert work.settle(ACK, "9.0.2", visible_at_ms=0) == (True, "settled")
    assert work.settle(NACK, "9.0.2", visible_at_ms=0) == (False, "settled")
    with pytest.raises(InvalidRequest, match="no receipt"):
        work.settle(ACK, "9.x.1", visible_at_ms=0)


def test_the_last_delivery_ends_dead() -> None:
    work = MemoryWork(9, 0)
    work.delivery_limit = 1
    take(work, 0, 2)
    assert work.settle(NACK, "9.0.1", visible_at_ms=0) == (True, "dead")
    work.expire(99)
    assert work.dead == {0: 1}
    work.expire(100)
    assert work.dead == {0: 1, 1: 1}
    assert work.offset == 0


def test_no_more_are_out_than_a_group_may_have() -> None:
    work = MemoryWork(9, 0)
    assert len(take(work, 0, UNSETTLED_MAX, end=UNSETTLED_MAX + 5)) == UNSETTLED_MAX
    assert take(work, 0, 5, end=UNSETTLED_MAX + 5) == []
    assert work.settle(ACK, "9.7.1", visible_at_ms=0) == (True, "")
    assert take(work, 0, 5, end=UNSETTLED_MAX + 5) == [(UNSETTLED_MAX, 1)]


MINE = "token-1"


def call(api: MemoryApi, path: str, token: str = MINE, **fields: Any) -> dict[str, Any]:
    body = encode_body({"topic": "logs", "partition": 0, "group": "g", **fields})
    request = Request("POST", path, body=body, content_type=MSGPACK, accept=MSGPACK, token=token)
    assert decoded(request)
    return read_body(api.handle("broker", request))


@pytest.fixture
def api() -> MemoryApi:
    api = MemoryApi("manager", ["broker"])
    api.create("logs", 1)[0].put("a", "b")
    api.clients[1] = ("consumer", "logs")
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
    api.topics["logs"][0].put("c")
    (found,) = call(api, "/messages/receive", max_messages=5)["messages"]
    assert (found["message"], found["delivery_count"]) == ("c", 1)


def test_a_dead_message_is_an_ordinary_message_of_another_topic(api: MemoryApi) -> None:
    found = call(api, "/messages/receive", max_messages=2, delivery_limit=1)["messages"]
    receipts = [one["receipt"] for one in found]
    assert [one["reason"] for one in call(api, NACK, receipts=receipts)["results"]] == ["dead"] * 2
    (letters,) = api.topics["logs.dead"]
    assert letters.values == ["a", "b"]
    assert (letters.records[1].headers or {})["dead-letter-offset"] == "1"
    with pytest.raises(OffsetOutOfRange):
        letters.check_offset(3)
