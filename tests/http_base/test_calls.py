"""What operations are told of a request."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_base.calls import DirectCall, bearer_token, head_of, is_cluster, read_call, read_query
from http_base.tokens import cluster_token
from myqueue.contract.errors import InvalidRequest, MessageTooLarge
from myqueue.contract.inputs import BATCH, JSON, MAX_JSON_BODY_BYTES, MSGPACK, Fetch, ProduceBatch


def called(query: str = "", body: bytes = b"", **headers: str) -> DirectCall:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return DirectCall(head_of(query, named), body)


@pytest.mark.parametrize(
    ("accept", "is_plain"),
    [
        (MSGPACK, True),
        (BATCH, True),
        (JSON, True),
        ("*/*", True),
        ("", True),
        (None, True),
        (f"{MSGPACK},{JSON}", False),
        (f"{JSON};q=1", False),
        ("application/*", False),
        ("text/html", False),
    ],
)
def test_a_call_is_plain_when_nothing_is_to_be_negotiated(accept, is_plain):
    headers = {} if accept is None else {b"accept": accept.encode()}
    assert DirectCall.is_plain(headers | {b"content-type": b"text/odd"}) is is_plain


def test_the_body_is_decoded_once_and_under_its_limit():
    call = called(body=b"\x81\xa1a\x01", content_type=MSGPACK)
    assert call.data == {"a": 1}
    assert call.data is call.data
    with pytest.raises(MessageTooLarge):
        _ = called(body=bytes(MAX_JSON_BODY_BYTES + 1), content_type=MSGPACK).data


def test_the_query_wins_over_the_body():
    body = b"\x82\xa6offset\x01\xa5topic\xa1b"
    call = called("topic=a&partition=0", body, content_type=MSGPACK)
    assert read_call(call, Fetch) == Fetch(topic="a", partition=0, offset=1)


def test_of_a_batch_the_query_alone_is_read_each_time():
    for partition in (0, 1, 0):
        query = f"topic=a&partition={partition}&producer_id=1"
        found = read_call(called(query, b"x", content_type=BATCH), ProduceBatch)
        assert found == ProduceBatch(topic="a", partition=partition, producer_id=1)
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="producer_id"):
            read_call(called("topic=a&partition=0", b"x", content_type=BATCH), ProduceBatch)


def test_a_long_query_of_a_batch_is_read_without_being_remembered():
    query = f"topic={'a' * 2_000}&partition=0&producer_id=1"
    call = called(query, b"x", content_type=BATCH)
    assert read_call(call, ProduceBatch) is not read_call(call, ProduceBatch)


def test_the_bearer_token_is_read(settings):
    token = cluster_token(settings.QUEUE.cluster_secret)
    call = called(authorization=f"Bearer {token}")
    assert (bearer_token(call), is_cluster(call)) == (token, True)
    assert (bearer_token(called()), is_cluster(called())) == (None, False)
    assert not is_cluster(called(authorization="Bearer \xe9"))


def test_query_keeps_empty_values_and_plus_signs():
    assert read_query("a=&b=x+y&c=%2B") == {"a": "", "b": "x y", "c": "+"}


@given(st.text(alphabet="ab=&+%2 ;\u00e4", max_size=40))
def test_a_query_is_read_as_the_standard_library_reads_it(text):
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        pairs = None
    if pairs is None or len(set(pairs)) > len(dict(pairs)):
        with pytest.raises(InvalidRequest):
            read_query(text)
    else:
        assert read_query(text) == dict(pairs)


def test_query_of_too_many_fields_is_refused():
    with pytest.raises(InvalidRequest, match="more than 100"):
        read_query("&".join(f"a{number}" for number in range(200)))
