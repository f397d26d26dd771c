from __future__ import annotations

import gc

import msgspec
import pytest

from http_base.tokens import cluster_token
from myqueue.contract.inputs import BATCH, JSON, MSGPACK
from tests.http_base import views_for_tests
from tests.http_base.asgi_client import call

GOOD = {"topic": "logs", "producer_id": 1, "message": "hello"}


def as_json(value) -> bytes:
    return msgspec.json.encode(value)


async def test_json_goes_in_and_out(send):
    answer = await send("POST", "/echo", body=as_json(GOOD), headers={"content-type": JSON})
    assert answer.status == 200
    assert answer.headers["content-type"] == JSON
    assert answer.json["status"] == "success"
    assert answer.json["message"] == "hello"


async def test_messagepack_goes_in_and_out_with_bytes_as_sent(send):
    body = msgspec.msgpack.encode({**GOOD, "message": b"\xff\x00"})
    answer = await send(
        "POST", "/echo", body=body, headers={"content-type": MSGPACK, "accept": MSGPACK}
    )
    assert answer.headers["content-type"] == MSGPACK
    assert msgspec.msgpack.decode(answer.body)["message"] == b"\xff\x00"


async def test_bytes_that_are_no_text_come_as_base64_in_json(send):
    body = msgspec.msgpack.encode({**GOOD, "message": b"\xff\x00"})
    answer = await send("POST", "/echo", body=body, headers={"content-type": MSGPACK})
    assert answer.json["message"] is None
    assert answer.json["message_base64"] == "/wA="


async def test_batch_body_is_handed_on_and_the_query_is_read(send):
    answer = await send(
        "POST",
        "/echo?topic=logs&partition=0&producer_id=1",
        body=b"\x00" * (2 << 20),
        headers={"content-type": BATCH},
    )
    assert answer.json == {"status": "success", "topic": "logs", "bytes": 2 << 20}


async def test_batches_go_out_as_stored(send):
    answer = await send("GET", "/echo?topic=logs&partition=0&offset=3", headers={"accept": BATCH})
    assert answer.body == b"QB\x00\xff"
    assert answer.headers["content-type"] == BATCH
    assert answer.headers["x-high-watermark"] == "7"


@pytest.mark.parametrize("accept", [BATCH, f"{BATCH};q=1"])
async def test_failure_of_a_batch_request_is_json(send, accept):
    answer = await send("GET", "/echo?topic=logs", headers={"accept": accept})
    assert answer.status == 400
    assert answer.headers["content-type"] == JSON
    assert answer.json["code"] == "INVALID_REQUEST"


async def test_chunked_body_is_read(send):
    body = as_json(GOOD)
    answer = await send("POST", "/echo", body=[body[:5], body[5:]], headers={"content-type": JSON})
    assert answer.json["message"] == "hello"


async def test_body_on_get_is_read_and_the_query_wins(send):
    answer = await send(
        "GET",
        "/echo?offset=9",
        body=as_json({"topic": "logs", "partition": 0, "offset": 1}),
        headers={"content-type": JSON},
    )
    assert answer.json["offset"] == 9


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b'{"topic": "logs"', JSON, 400, "INVALID_REQUEST"),
        (b'{"topic": "\xff"}', JSON, 400, "INVALID_REQUEST"),
        (b"\xff\xfe", JSON, 400, "INVALID_REQUEST"),
        (b"[" * 100_000, JSON, 400, "INVALID_REQUEST"),
        (b'{"topic": NaN}', JSON, 400, "INVALID_REQUEST"),
        (b'{"producer_id": 1e999}', JSON, 400, "INVALID_REQUEST"),
        (b'{"producer_id": ' + b"9" * 5_000 + b"}", JSON, 400, "INVALID_REQUEST"),
        (
            b'{"topic":"logs","producer_id": ' + b"9" * 30 + b',"message":""}',
            JSON,
            400,
            "INVALID_REQUEST",
        ),
        (b"[1]", JSON, 400, "INVALID_REQUEST"),
        (b'"text"', JSON, 400, "INVALID_REQUEST"),
        (b'{"topic": 1}', JSON, 400, "INVALID_REQUEST"),
        (b'{"topic": "logs", "producer_id": 1, "colour": 2}', JSON, 400, "INVALID_REQUEST"),
        (b"\xc1", MSGPACK, 400, "INVALID_REQUEST"),
        (b"\x91" * 100_000, MSGPACK, 400, "INVALID_REQUEST"),
        (b"\x81\x01\x01", MSGPACK, 400, "INVALID_REQUEST"),
        (b"topic=logs", "application/x-www-form-urlencoded", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"topic=logs", "multipart/form-data; boundary=x", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"x" * ((1 << 20) + 1), JSON, 413, "MESSAGE_TOO_LARGE"),
        (b"x" * ((1 << 20) + 1), MSGPACK, 413, "MESSAGE_TOO_LARGE"),
        (b"x" * ((8 << 20) + 100), BATCH, 413, "MESSAGE_TOO_LARGE"),
        ([b"x" * (1 << 20)] * 3, JSON, 413, "MESSAGE_TOO_LARGE"),
    ],
)
async def test_bad_body_is_refused_and_the_next_good_one_works(
    send, body, content_type, status, code
):
    answer = await send("POST", "/echo", body=body, headers={"content-type": content_type})
    assert (answer.status, answer.json["status"], answer.json["code"]) == (status, "failure", code)
    assert answer.json["message"]
    again = await send("POST", "/echo", body=as_json(GOOD), headers={"content-type": JSON})
    assert again.status == 200


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("topic=%ff&partition=0&offset=0", "not UTF-8"),
        ("topic=a&topic=b&partition=0&offset=0", "given twice"),
        ("&".join(f"a{number}=1" for number in range(101)), "more than 100"),
        ("topic=logs&partition=x&offset=0", "partition"),
    ],
)
async def test_bad_query_is_refused(send, query, message):
    answer = await send("GET", f"/echo?{query}")
    assert answer.status == 400
    assert message in answer.json["message"]


async def test_query_of_raw_bytes_is_refused(hot_app):
    answer = await call(hot_app, "GET", "/echo?topic=\xff")
    assert answer.status == 400
    assert answer.json["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize("path", ["/nothing", "//echo", "/echo/", "/echo//", "/plain/"])
async def test_unknown_url_has_the_failure_shape(send, path):
    answer = await send("GET", path)
    assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND")


async def test_wrong_method_is_named_with_those_allowed(send):
    answer = await send("DELETE", "/echo")
    assert (answer.status, answer.json["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert set(answer.headers["allow"].split(", ")) >= {"GET", "POST"}


async def test_accept_that_cannot_be_met_is_406(send):
    answer = await send("GET", "/echo?topic=a&partition=0&offset=0", headers={"accept": "a/b"})
    assert (answer.status, answer.json["code"]) == (406, "NOT_ACCEPTABLE")


async def test_options_describes_the_view(send):
    answer = await send("OPTIONS", "/echo")
    assert answer.status == 200
    assert answer.json["description"] == "Answers with what it read."


async def test_ordinary_view_reads_and_answers_alike(send):
    answer = await send("POST", "/plain/x", body=b'{"name": "logs"}')
    assert (answer.status, answer.json) == (201, {"status": "success", "topic": "logs"})
    refused = await send("POST", "/plain/x", body=b'{"name": "logs", "topic": "other"}')
    assert (refused.status, refused.json["field"]) == (400, "topic")


async def test_internal_call_needs_the_token_of_the_cluster(send, settings):
    refused = await send("GET", "/internal", headers={"authorization": "Bearer x"})
    assert (refused.status, refused.json["code"]) == (401, "UNAUTHORIZED")
    token = cluster_token(settings.QUEUE.cluster_secret)
    allowed = await send("GET", "/internal", headers={"authorization": f"Bearer {token}"})
    assert allowed.status == 200


async def test_a_hot_request_leaves_no_garbage(hot_app):
    async def one():
        await call(hot_app, "POST", "/echo", body=as_json(GOOD), headers={"content-type": JSON})

    await one()
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            await one()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_view_has_handlers_of_one_kind():
    async def put(self, request):
        pass

    with pytest.raises(AssertionError, match="plain handlers and coroutines"):
        type("Mixed", (views_for_tests.PlainView,), {"put": put})
