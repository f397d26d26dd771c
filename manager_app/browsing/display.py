"""What people see of a message: its value, key and headers as text, JSON or bytes, cut to a length.

A message is data from outside: whatever is in it comes out as plain text, without characters that
change how the text around them looks. Whoever puts it into a page escapes it like any other text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from http_base.messages import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator

Form = Literal["auto", "text", "json", "hex"]
FORMS: tuple[Form, ...] = ("auto", "text", "json", "hex")

SHOWN_CHARACTERS_MAX = 64 << 10
"""Of one value on the page of its message; the rest is in the download."""
LISTED_CHARACTERS_MAX = 300
"""Of one value in a list of messages."""
HEX_BYTES_MAX = 16 << 10
"""Of one value as bytes."""
HEX_LINE_BYTES = 16
INDENT_MAX = 40
"""Depth of JSON beyond which lines are not indented further."""
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
"""Controls, and what reverses or hides the text around it; tabs and ends of lines stay."""
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)


class Shown(NamedTuple):
    """A content as it is shown."""

    text: str
    kind: str
    """What it is: text, JSON or binary."""
    size_bytes: int
    """Of the content, all of it."""
    is_cut: bool = False
    """True when only the beginning is shown."""


def show(
    content: str | bytes, form: Form = "auto", *, characters_max: int = SHOWN_CHARACTERS_MAX
) -> Shown:
    """Return a content to look at.

    Args:
        content: value, key or header of a message.
        form: `auto` indents JSON, shows other text as it is, and bytes that are no text in hex.
        characters_max: of what is shown, for all but hex.
    """
    text = as_text(content)
    size = size_of(content)
    if form == "hex" or (text is None and form == "auto"):
        data = content.encode() if isinstance(content, str) else content
        shown = "\n".join(_hex_lines(data[:HEX_BYTES_MAX]))
        kind = "binary" if text is None else "text"
        return Shown(shown, kind, size, len(data) > HEX_BYTES_MAX)
    if text is None:
        text = bytes(content).decode("utf-8", "replace")  # type: ignore[arg-type]  # bytes here
        return _cut(text, "binary", size, characters_max)
    if form in ("auto", "json") and is_json(text):
        shown, is_cut = indented(text, characters_max)
        return Shown(plain(shown), "JSON", size, is_cut)
    return _cut(text, "text", size, characters_max)


def summary(content: str | bytes | None, characters_max: int = LISTED_CHARACTERS_MAX) -> Shown:
    """Return the beginning of a content in one line, for lists; binary ones in hex."""
    if content is None:
        return Shown("", "none", 0)
    size = size_of(content)
    data = content[: 4 * characters_max]
    if isinstance(data, bytes):
        cut_inside = size > len(data)
        text = as_text(data) if not cut_inside else _beginning(data)
        if text is None:
            shown = data[: characters_max // 3].hex(" ")
            return Shown(shown, "binary", size, size > characters_max // 3)
    else:
        text = data
    line = plain(" ".join(text[: 2 * characters_max].split()))
    is_cut = len(line) > characters_max or len(text) > 2 * characters_max
    return Shown(line[:characters_max], "text", size, is_cut)


def size_of(content: str | bytes) -> int:
    """Return how many bytes a content has."""
    if isinstance(content, bytes) or content.isascii():
        return len(content)
    return len(content.encode())


def plain(text: str) -> str:
    """Return a text without characters that hide or turn around others: they are named instead."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text.replace("\r\n", "\n"))


def is_json(text: str) -> bool:
    """Tell whether a text is a JSON object or array; of other JSON there is nothing to indent."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def indented(text: str, characters_max: int) -> tuple[str, bool]:
    """Return JSON with a line per member, and whether only its beginning.

    Numbers and names are as they were written, and in their order. It takes no longer than what is
    shown, however long or deep the JSON is.
    """
    pieces: list[str] = []
    length = 0
    for piece in _pieces(text):
        pieces.append(piece)
        length += len(piece)
        if length > characters_max:
            return "".join(pieces)[:characters_max], True
    return "".join(pieces), False


def _pieces(text: str) -> Iterator[str]:
    depth, opened = 0, False
    for found in _TOKEN.finditer(text):
        sign = found[0]
        if sign in "]}":
            depth -= 1
            yield sign if opened else _line(depth) + sign
            opened = False
            continue
        if opened:
            yield _line(depth)
        opened = sign in "[{"
        if opened:
            depth += 1
            yield sign
        elif sign == ",":
            yield "," + _line(depth)
        else:
            yield ": " if sign == ":" else sign


def _line(depth: int) -> str:
    return "\n" + "  " * min(depth, INDENT_MAX)


def _cut(text: str, kind: str, size_bytes: int, characters_max: int) -> Shown:
    is_cut = len(text) > characters_max
    return Shown(plain(text[:characters_max]), kind, size_bytes, is_cut)


def _beginning(data: bytes) -> str | None:
    """Return bytes that were cut somewhere as a text, without half a character at their end."""
    for cut in range(4):
        text = as_text(data[: len(data) - cut])
        if text is not None:
            return text
    return None


def _hex_lines(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), HEX_LINE_BYTES):
        row = data[start : start + HEX_LINE_BYTES]
        readable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{start:08x}  {row.hex(' ', 1):<{HEX_LINE_BYTES * 3 - 1}}  {readable}"
