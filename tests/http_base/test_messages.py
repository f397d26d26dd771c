from __future__ import annotations

import pytest
from msgspec import UNSET
from msgspec.structs import asdict

from http_base.messages import message_answer
from myqueue.contract.records import Record


def fields(record, *, binary=False):
    answer = message_answer(record, binary=binary, topic="logs", partition=2, offset=9)
    return {name: value for name, value in asdict(answer).items() if value is not UNSET}


def test_text_and_position_are_rendered():
    assert fields(Record("hello", "k", {"h": "v"}, 5)) == {
        "topic": "logs",
        "partition": 2,
        "offset": 9,
        "timestamp": 5,
        "message": "hello",
        "key": "k",
        "headers": {"h": "v"},
    }


@pytest.mark.parametrize("text", ["", "\0", "'\"", "\U0001f600"])
def test_bytes_that_are_utf8_become_the_same_text(text):
    assert fields(Record(text.encode()))["message"] == text


def test_other_bytes_come_as_base64():
    rendered = fields(Record(b"\xff", b"\xfe", {"a": b"\xfd", "b": b"ok", "c": "x"}))
    assert (rendered["message"], rendered["message_base64"]) == (None, "/w==")
    assert (rendered["key"], rendered["key_base64"]) == (None, "/g==")
    assert rendered["headers"] == {"a": None, "b": "ok", "c": "x"}
    assert rendered["headers_base64"] == {"a": "/Q=="}


def test_messagepack_gets_everything_as_sent():
    record = Record(b"text", b"key", {"a": b"\xff", "b": "x"}, 1)
    rendered = fields(record, binary=True)
    assert rendered["message"] == b"text"
    assert rendered["key"] == b"key"
    assert rendered["headers"] == {"a": b"\xff", "b": "x"}
    assert "message_base64" not in rendered
