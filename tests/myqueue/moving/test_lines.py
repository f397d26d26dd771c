from __future__ import annotations

import pytest

from myqueue.contract.records import Record
from myqueue.moving.lines import LINE_BYTES_MAX, lines_of, read_line, record_of
from myqueue.moving.marks import COPIED_FROM, Marks
from myqueue.results import Message

MARKS = Marks("export-1", "orders", 3)


@pytest.mark.parametrize(
    ("value", "key", "headers"),
    [
        ("text", None, None),
        ("", "", None),
        ("line\nend \u2028 \x00 é", "ключ", {"a": "b"}),
        (b"", b"", {"a": b""}),
        (b"\xff\x00", b"\xfe", {"text": "x", "bytes": b"\xff", "": ""}),
        ("text", b"key", {"bytes": b"as text"}),
    ],
)
def test_a_message_comes_back_as_it_was(
    value: str | bytes, key: str | bytes | None, headers: dict[str, str | bytes] | None
) -> None:
    line = lines_of([Message("orders", 3, 17, value, key, headers, 123)])
    assert line.count(b"\n") == 1
    mark = {COPIED_FROM: "export-1/orders/3/17"}
    assert record_of(read_line(line), MARKS) == Record(value, key, {**(headers or {}), **mark}, 123)


def test_lines_are_whole_and_in_order() -> None:
    messages = [Message("orders", 0, number, str(number)) for number in range(3)]
    read = [read_line(line) for line in lines_of(messages).splitlines(keepends=True)]
    assert [(one.offset, one.value) for one in read] == [(0, "0"), (1, "1"), (2, "2")]
    assert lines_of([]) == b""


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"offset":1,"value":"a"}', "cut off"),
        (b'{"offset":1,"val\n', "invalid"),
        (b'{"offset":1}\n', "either value"),
        (b'{"offset":1,"value":"a","value_base64":"YQ=="}\n', "either value"),
        (b'{"offset":1,"value":"a","key":"a","key_base64":"YQ=="}\n', "either key"),
        (b'{"offset":-1,"value":"a"}\n', "at least 0"),
        (b'{"offset":1,"value_base64":"?"}\n', "base64"),
        (b'{"offset":1,"value":"a","more":1}\n', "more"),
        (b'{"offset":1,"value":"\xff"}\n', "utf-8"),
        (b'{"value":"a"}\n', "offset"),
        (b"\n", "truncated"),
        (b"x" * LINE_BYTES_MAX, "too long"),
    ],
)
def test_what_is_no_message_is_refused(line: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=f"(?i){why}"):
        read_line(line)
