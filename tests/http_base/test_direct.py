"""Answers without Django are the same as those of the views."""

from __future__ import annotations

import msgspec
import pytest
from django.core.handlers.asgi import ASGIHandler

from http_base.calls import DirectCall, StoredBatches, head_of
from http_base.direct import answer_directly
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from myqueue.contract.answers import DONE
from myqueue.contract.errors import NotLeader, Overloaded
from myqueue.contract.inputs import BATCH, JSON, MSGPACK
from tests.http_base import views_for_tests
from tests.http_base.asgi_client import call


def asked(accept: str) -> DirectCall:
    return DirectCall(head_of("", {b"accept": accept.encode()}), b"")


async def answer_of(outcome, accept=MSGPACK, **options):
    async def operation(_):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return await answer_directly(operation, asked(accept), method="POST", path="/x", **options)


@pytest.mark.parametrize(
    ("accept", "media_type", "decode"),
    [(MSGPACK, MSGPACK, msgspec.msgpack.decode), (BATCH, JSON, msgspec.json.decode)],
)
async def test_success_and_failure_come_in_the_form_that_is_asked_for(accept, media_type, decode):
    success = await answer_of(DONE, accept)
    assert (success.status, decode(success.body)) == (200, {"status": "success"})
    failure = await answer_of(NotLeader(leader={"broker_id": 2}), accept)
    assert (failure.status, decode(failure.body)["code"]) == (NotLeader.http_status, "NOT_LEADER")
    for answer in (success, failure):
        length = b"%d" % len(answer.body)
        assert dict(answer.headers)[b"content-length"] == length
        assert dict(answer.headers)[b"content-type"] == media_type.encode()


async def test_batches_go_out_as_stored_with_their_headers():
    answer = await answer_of(StoredBatches(b"QB\x00", {"X-High-Watermark": "7"}), BATCH)
    assert answer.body == b"QB\x00"
    assert dict(answer.headers)[b"x-high-watermark"] == b"7"


@pytest.mark.parametrize("outcome", [DONE, StoredBatches(b"", {}), NotLeader("no")])
async def test_what_every_answer_says_is_in_its_headers(outcome):
    answer = await answer_of(outcome, BATCH, more_headers=lambda: {"X-Age": "7"})
    assert dict(answer.headers)[b"x-age"] == b"7"


async def test_a_failure_says_when_to_come_again():
    answer = await answer_of(Overloaded("full", retry_after_ms=1_200))
    assert dict(answer.headers)[b"retry-after"] == b"2"


async def test_a_bug_is_logged_under_the_id_that_the_answer_has(caplog):
    answer = await answer_of(ZeroDivisionError("a secret"))
    failure = msgspec.msgpack.decode(answer.body)
    assert (answer.status, failure["outcome"]) == (500, "unknown")
    assert failure["request_id"] in caplog.text
    assert "a secret" in caplog.text
    assert "a secret" not in failure["message"]


@pytest.mark.parametrize("body", [{"topic": "a", "producer_id": 1, "message": b"\xff"}, {}, [1]])
@pytest.mark.parametrize(
    ("kind", "encode"), [(MSGPACK, msgspec.msgpack.encode), (JSON, msgspec.json.encode)]
)
async def test_the_view_answers_the_same(body, kind, encode, monkeypatch):
    direct = HotPaths(ASGIHandler(), views_for_tests.HOT_PATHS, bodies=MemoryBudget().bodies)
    viewed = HotPaths(ASGIHandler(), views_for_tests.HOT_PATHS, bodies=MemoryBudget().bodies)
    monkeypatch.setattr(viewed, "_operations", {})
    sent = {"body": encode(body)}
    headers = {"accept": kind, "content-type": kind, "x-request-id": "r"}
    ways = (direct, viewed)
    answers = [await call(app, "POST", "/echo", **sent, headers=headers) for app in ways]
    assert answers[0] == answers[1]
