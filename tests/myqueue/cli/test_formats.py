from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from myqueue.cli.formats import formatted, from_json, parse_format, to_json
from myqueue.contract.records import Record
from myqueue.results import Message

MESSAGE = Message("logs", 2, 7, "héllo", b"k\xff", {"a": "1", "b": b"\xfe"}, 1_700_000_000_123)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%v", "héllo".encode()),
        (r"%t/%p/%o\n", b"logs/2/7\n"),
        (r"%k\t%h\0", b"k\xff\ta=1,b=\xfe\0"),
        ("%T 100%%", b"2023-11-14T22:13:20.123+00:00 100%"),
        (r"\x41\\n\r", b"A\\n\r"),
        ("", b""),
    ],
)
def test_a_format_has_the_fields_of_a_message(text: str, expected: bytes) -> None:
    assert formatted(MESSAGE, parse_format(text)) == expected


def test_what_is_missing_is_empty() -> None:
    bare = Message("logs", 0, 0, b"\xff")
    assert formatted(bare, parse_format("%k|%h|%v")) == b"||\xff"


@pytest.mark.parametrize("text", ["%x", "%", "\\q", "a\\"])
def test_a_format_without_meaning_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="none of"):
        parse_format(text)


@pytest.mark.parametrize(
    "message",
    [
        MESSAGE,
        Message("logs", 0, 0, b"\xff", None, None, 0),
        Message("logs", 0, 0, "", "", {}, 5),
        Message("logs", 0, 0, "x", None, {"a_base64": "no base64", "b": b"\xff"}, 5),
    ],
)
def test_what_is_printed_as_json_is_read_back(message: Message) -> None:
    record, partition = from_json(json.loads(json.dumps(to_json(message))))
    assert partition == message.partition
    assert record == Record(message.value, message.key, message.headers or None, message.timestamp)


def test_a_message_may_be_short() -> None:
    assert from_json({"value": "x"}) == (Record("x"), None)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([], "no JSON object"),
        ({}, "no text under 'value'"),
        ({"value": 1}, "no text under 'value'"),
        ({"value": "x", "key": 1}, "'key'"),
        ({"value": "x", "headers": [1]}, "'headers'"),
        ({"value": "x", "headers": {"a": 1}}, "'headers'"),
        ({"value": "x", "partition": -1}, "'partition'"),
        ({"value": "x", "partition": "0"}, "'partition'"),
        ({"value": "x", "keys": "0"}, "'keys' is none of"),
        ({"value_base64": "*"}, "base64"),
        ({"value_base64": 1}, "base64"),
    ],
)
def test_what_describes_no_message_is_named(fields: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        from_json(fields)
