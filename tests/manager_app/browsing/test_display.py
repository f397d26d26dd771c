from __future__ import annotations

import json
import time

import pytest

from manager_app.browsing.display import (
    HEX_BYTES_MAX,
    LISTED_CHARACTERS_MAX,
    SHOWN_CHARACTERS_MAX,
    show,
    summary,
)

DOCUMENT = {"b": [1, 2.50, {"x": None}], "a": {}, "empty": [], "text": 'a "quoted", [one]: {é}'}


def test_json_is_indented_in_the_order_and_with_the_numbers_that_were_written():
    shown = show('{"b":[1,2.50,{"x":null}],"a":{},"n":1e400,"n":12345678901234567890123}')
    assert shown.text == (
        '{\n  "b": [\n    1,\n    2.50,\n    {\n      "x": null\n    }\n  ],\n  "a": {},\n'
        '  "n": 1e400,\n  "n": 12345678901234567890123\n}'
    )
    assert (shown.kind, shown.is_cut) == ("JSON", False)


def test_indented_json_means_the_same():
    shown = show(json.dumps(DOCUMENT, ensure_ascii=False).encode())
    assert json.loads(shown.text) == DOCUMENT


@pytest.mark.parametrize("text", ["", "plain", "{not json}", '"text"', "17", "[1,]"])
def test_what_is_no_json_document_stays_as_it_is(text):
    assert show(text) == (text, "text", len(text), False)


def test_bytes_that_are_no_text_are_shown_in_hex():
    shown = show(bytes(range(250, 256)) + b"Az")
    assert shown.text == "00000000  fa fb fc fd fe ff 41 7a                          ......Az"
    assert shown.kind == "binary"


def test_a_text_can_be_looked_at_in_hex_too():
    assert show("é", "hex").text.startswith("00000000  c3 a9 ")
    assert show("é", "hex").kind == "text"


def test_bytes_can_be_looked_at_as_text_with_what_is_none_replaced():
    assert show(b"a\xffb", "text").text == "a�b"


def test_json_can_be_looked_at_as_it_came():
    assert show('{"a":1}', "text").text == '{"a":1}'


@pytest.mark.parametrize("form", ["auto", "text", "json", "hex"])
@pytest.mark.parametrize(
    "content",
    [
        "x" * (1 << 20),
        b"\xff" * (1 << 20),
        "[" * 200 + "1," * (1 << 18) + "1" + "]" * 200,
        '{"a":"' + "y" * (1 << 20) + '"}',
        json.dumps([{"n": number} for number in range(60_000)]),
        "[" * (1 << 20),
    ],
)
def test_a_mebibyte_is_cut_named_and_shown_at_once(content, form):
    began = time.thread_time()
    shown = show(content, form)
    assert time.thread_time() - began < 0.5
    assert shown.is_cut
    assert shown.size_bytes == len(content)
    assert len(shown.text) <= max(SHOWN_CHARACTERS_MAX, HEX_BYTES_MAX * 6)


def test_what_hides_or_turns_around_text_is_named_instead():
    shown = show("a\u202eb\x00c\x1b[31m\td\r\ne\u200bf")
    assert shown.text == "a\\u202eb\\u0000c\\u001b[31m\td\ne\\u200bf"
    assert summary("a\u202eb").text == "a\\u202eb"


def test_markup_stays_the_text_that_it_is():
    assert show("<script>alert(1)</script>").text == "<script>alert(1)</script>"


def test_a_summary_is_one_short_line():
    shown = summary("one\n\ttwo  three" + "x" * 10_000)
    assert shown.text.startswith("one two three")
    assert len(shown.text) == LISTED_CHARACTERS_MAX
    assert (shown.is_cut, shown.size_bytes) == (True, 10_015)
    assert summary("short") == ("short", "text", 5, False)
    assert summary(None) == ("", "none", 0, False)


def test_a_summary_of_bytes_is_text_where_they_are_text():
    assert summary(b"caf\xc3\xa9").text == "café"
    assert summary("é".encode() * 5_000).kind == "text"
    assert summary(b"x" + "é".encode() * 5_000).kind == "text"
    shown = summary(b"\xff\x00" * 1_000)
    assert shown.text.startswith("ff 00 ff")
    assert (shown.kind, shown.is_cut) == ("binary", True)


def test_a_summary_of_blanks_that_go_on_says_that_it_is_cut():
    assert summary(" " * 5_000 + "end").is_cut
