from __future__ import annotations

import gc
import io

import msgspec
import pytest
from django.utils.functional import lazystr
from rest_framework.exceptions import ErrorDetail

from http_base.negotiation import (
    BATCH_RENDERER,
    JSON_RENDERER,
    LARGE_BODY_BYTES,
    MAX_BATCH_BODY_BYTES,
    MSGPACK_RENDERER,
    JsonParser,
    body_limit,
    decode_body,
)
from myqueue.contract.errors import MessageTooLarge
from myqueue.contract.inputs import BATCH, JSON, MAX_JSON_BODY_BYTES, MSGPACK


def test_cap_follows_from_the_content_type():
    assert body_limit(BATCH) == body_limit(f"{BATCH}; version=1") == MAX_BATCH_BODY_BYTES
    assert body_limit(JSON) == body_limit("") == body_limit("a/b") == MAX_JSON_BODY_BYTES
    assert body_limit(JSON, 7) == 7
    assert body_limit(BATCH, 7) == MAX_BATCH_BODY_BYTES


def test_empty_body_is_an_empty_object_of_every_type():
    assert decode_body(b"", JSON) == decode_body(b"", "a/b") == {}


def test_body_without_a_type_is_json():
    assert decode_body(b'{"a": 1}', "") == {"a": 1}


def test_type_is_compared_without_case_and_parameters():
    assert decode_body(b"{}", "Application/JSON; charset=utf-8") == {}


def test_longest_body_is_taken_and_one_byte_more_refused():
    text = b'"' + b"x" * (MAX_JSON_BODY_BYTES - 2) + b'"'
    assert len(decode_body(text, JSON)) == MAX_JSON_BODY_BYTES - 2
    with pytest.raises(MessageTooLarge, match="larger batches come as"):
        decode_body(text + b" ", JSON)
    assert decode_body(text + b" ", JSON, len(text) + 1) == decode_body(text, JSON)
    with pytest.raises(MessageTooLarge, match=f"at most {len(text) - 1} bytes"):
        decode_body(text, JSON, len(text) - 1)


@pytest.mark.parametrize("renderer", [JSON_RENDERER, MSGPACK_RENDERER])
def test_subclasses_of_text_are_encoded(renderer):
    decode = msgspec.json.decode if renderer is JSON_RENDERER else msgspec.msgpack.decode
    encoded = renderer.render({"a": ErrorDetail("x", "code"), "b": lazystr("y")})
    assert decode(encoded) == {"a": "x", "b": "y"}


def test_batches_are_rendered_as_they_are_and_errors_as_json():
    assert BATCH_RENDERER.render(b"QB") == b"QB"
    assert BATCH_RENDERER.render({"a": 1}) == b'{"a":1}'


def test_parser_reads_no_more_than_the_cap():
    stream = io.BytesIO(b" " * (2 * MAX_JSON_BODY_BYTES))
    with pytest.raises(MessageTooLarge):
        JsonParser().parse(stream, JSON, {})
    assert stream.tell() == MAX_JSON_BODY_BYTES + 1


def test_messagepack_of_bytes_is_kept():
    assert decode_body(msgspec.msgpack.encode({"a": b"\xff"}), MSGPACK) == {"a": b"\xff"}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"[" + b"[]," * LARGE_BODY_BYTES + b"[]]", JSON),
        (b"\xdd" + (LARGE_BODY_BYTES).to_bytes(4, "big") + b"\x90" * LARGE_BODY_BYTES, MSGPACK),
    ],
    ids=["JSON", "MessagePack"],
)
def test_a_large_body_is_decoded_without_a_search_for_garbage(body, content_type):
    """Hundreds of searches through what is being built take many times as long as to build it."""
    searches = []
    gc.collect()
    gc.callbacks.append(lambda phase, _info: searches.append(phase))
    try:
        decoded = decode_body(body, content_type)
        assert len(searches) <= 4  # begin and end of one that was due before, one that is due after
    finally:
        gc.callbacks.pop()
    assert len(decoded) >= LARGE_BODY_BYTES
    assert gc.isenabled()
