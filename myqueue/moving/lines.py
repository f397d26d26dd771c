"""One message as a line of JSON, and back: exactly the same message.

A value, a key or a header that was bytes is base64 under its name with `_base64`. What says
something else, or too little, is no message: nothing is guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from myqueue.contract.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from myqueue.moving.marks import Marks
    from myqueue.results import Message

LINE_BYTES_MAX = 16 << 20
"""Longer than any message: JSON writes a byte of one in six at most, base64 in less than two."""


class Line(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One message."""

    offset: int
    timestamp: int = 0
    """Milliseconds since 1970, as the producer said."""
    key: str | None = None
    key_base64: bytes | None = None
    headers: dict[str, str] | None = None
    headers_base64: dict[str, bytes] | None = None
    value: str | None = None
    value_base64: bytes | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.value_base64 is None):
            raise ValueError("a message has either value or value_base64")
        if self.key is not None and self.key_base64 is not None:
            raise ValueError("a message has either key or key_base64, or neither")
        if self.offset < 0:
            raise ValueError("offset must be at least 0")


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


def lines_of(messages: Iterable[Message]) -> bytes:
    """Return messages as lines, each with its end."""
    lines = []
    for one in messages:
        value, key = one.value, one.key
        if one.headers is None and type(value) is str and not isinstance(key, bytes):
            lines.append(Line(one.offset, one.timestamp, key, value=value))
        else:
            lines.append(_line(one))
    return _encoder.encode_lines(lines)


def _line(one: Message) -> Line:
    line = Line(one.offset, one.timestamp, value="")
    if isinstance(one.value, bytes):
        line.value, line.value_base64 = None, one.value
    else:
        line.value = one.value
    if isinstance(one.key, bytes):
        line.key_base64 = one.key
    else:
        line.key = one.key
    headers = (one.headers or {}).items()
    line.headers = {name: said for name, said in headers if isinstance(said, str)} or None
    line.headers_base64 = {name: said for name, said in headers if isinstance(said, bytes)} or None
    return line


def read_line(line: bytes) -> Line:
    """Return the message that a line says.

    Raises:
        ValueError: it is cut off, damaged or says something else.
    """
    if not line.endswith(b"\n"):
        raise ValueError("the line is cut off" if len(line) < LINE_BYTES_MAX else "it is too long")
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


def record_of(line: Line, marks: Marks) -> Record:
    """Return the message to send for a line, marked with where it comes from."""
    headers: dict[str, str | bytes] = {**(line.headers or {}), **(line.headers_base64 or {})}
    value: str | bytes | None = line.value if line.value_base64 is None else line.value_base64
    assert value is not None, "a line has a value"
    key: str | bytes | None = line.key if line.key_base64 is None else line.key_base64
    return Record(value, key, marks.headers(headers, line.offset), line.timestamp)
