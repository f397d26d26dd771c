"""How messages look: a format of one's own, or JSON, which `produce --json` reads back."""

from __future__ import annotations

import base64
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from myqueue.contract.records import Record

if TYPE_CHECKING:
    from myqueue.results import Message

Format = list[bytes | Callable[["Message"], bytes]]
FIELDS = "%t topic, %p partition, %o offset, %k key, %v value, %h headers, %T time, %% a percent"
_TOKEN = re.compile(r"%(.?)|\\(x[0-9a-fA-F]{2}|.?)", re.DOTALL)
_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0", "\\": b"\\"}
READ_BACK = ("message", "value", "key", "headers", "partition", "timestamp")
PASSED_OVER = ("topic", "offset")
"""What JSON of a message has and a new message does not take from it."""


def _bytes(content: str | bytes | None) -> bytes:
    return content.encode() if isinstance(content, str) else content or b""


def _time(message: Message) -> bytes:
    at = datetime.fromtimestamp(message.timestamp / 1000, UTC)
    return at.isoformat(timespec="milliseconds").encode()


def _headers(message: Message) -> bytes:
    pairs = (message.headers or {}).items()
    return b",".join(name.encode() + b"=" + _bytes(value) for name, value in pairs)


_PARTS: dict[str, Callable[[Message], bytes]] = {
    "t": lambda message: message.topic.encode(),
    "p": lambda message: b"%d" % message.partition,
    "o": lambda message: b"%d" % message.offset,
    "k": lambda message: _bytes(message.key),
    "v": lambda message: _bytes(message.value),
    "h": _headers,
    "T": _time,
    "%": lambda _: b"%",
}


def parse_format(text: str) -> Format:
    r"""Return what a format like `%k: %v\n` consists of."""
    parts: Format = []
    end = 0
    for token in _TOKEN.finditer(text):
        parts.append(text[end : token.start()].encode())
        end = token.end()
        parts.append(_escaped(token[2]) if token[2] is not None else _part(token[1]))
    parts.append(text[end:].encode())
    return [part for part in parts if part != b""]


def _part(letter: str) -> Callable[[Message], bytes]:
    if letter not in _PARTS:
        raise ArgumentTypeError(f"%{letter} is none of {FIELDS}")
    return _PARTS[letter]


def _escaped(letter: str) -> bytes:
    if letter.startswith("x") and len(letter) == 3:
        return bytes.fromhex(letter[1:])
    if letter not in _ESCAPES:
        raise ArgumentTypeError(rf"\{letter} is none of \n \t \r \0 \\ \x41")
    return _ESCAPES[letter]


def formatted(message: Message, parts: Format) -> bytes:
    """Return a message in a format."""
    return b"".join(part if isinstance(part, bytes) else part(message) for part in parts)


def to_json(message: Message) -> dict[str, Any]:
    """Return a message for JSON; what is not UTF-8 is base64 under another name."""
    fields: dict[str, Any] = {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp,
        **_readable({"message": message.value, "key": message.key}),
    }
    if message.headers:
        fields["headers"] = _readable(message.headers)
    return fields


def _readable(contents: Mapping[str, str | bytes | None]) -> dict[str, str | None]:
    fields: dict[str, str | None] = {}
    for name, content in contents.items():
        try:
            fields[name] = content.decode() if isinstance(content, bytes) else content
        except UnicodeDecodeError:
            fields[name] = None
            fields[f"{name}_base64"] = base64.b64encode(_bytes(content)).decode()
    return fields


def from_json(fields: object) -> tuple[Record, int | None]:
    """Return the message that an object of JSON describes, and the partition that it names.

    Raises:
        ValueError: it describes none.
    """
    if not isinstance(fields, dict):
        raise ValueError("no JSON object")
    given = _plain(fields, ("message", "value", "key"))
    unknown = given.keys() - {*READ_BACK, *PASSED_OVER}
    if unknown:
        raise ValueError(f"{min(unknown)!r} is none of {', '.join(READ_BACK)}")
    value, partition = given.get("value", given.get("message")), given.get("partition")
    key, headers = given.get("key"), given.get("headers") or {}
    if not isinstance(value, str | bytes):
        raise ValueError("there is no text under 'value' or 'message'")
    if not isinstance(key, str | bytes | None):
        raise ValueError("'key' is no text")
    if not isinstance(headers, dict):
        raise ValueError("'headers' is no object")
    headers = _plain(headers, [name for name, one in headers.items() if one is None])
    if not all(isinstance(header, str | bytes) for header in headers.values()):
        raise ValueError("a value of 'headers' is no text")
    whole = (partition, given.get("timestamp") or 0)
    if not all(isinstance(number, int | None) and (number or 0) >= 0 for number in whole):
        raise ValueError("'partition' or 'timestamp' is no number from 0")
    return Record(value, key, headers or None, whole[1]), partition


def _plain(fields: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return fields with what is base64 under its own name, if it is one of these names."""
    plain = dict(fields)
    for name in names:
        text = plain.pop(f"{name}_base64", None)
        if text is not None:
            try:
                plain[name] = base64.b64decode(text, validate=True)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}_base64 is no base64: {error}") from error
    return plain
