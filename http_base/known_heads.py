"""Heads of requests that came before: whoever sends the same one again need not have it parsed.

A program that calls again and again sends the same bytes each time, up to the length of the body,
which usually stands last. Such a head was parsed once, by the server's parser, and what was found
is looked up by its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADS_MAX = 2_048
"""Heads that are remembered; when there are more all are forgotten."""
HEAD_BYTES_MAX = 2 << 10
"""Longest head that is."""
BODY_BYTES_MAX = 256 << 10
"""Longest body that comes with one; it has to be there whole with the head."""

_END = b"\r\n\r\n"
_LENGTH_NAMES = (b"Content-Length: ", b"content-length: ")
_LENGTH_BYTES = len(_LENGTH_NAMES[0])
_DIGITS_MAX = len(str(BODY_BYTES_MAX))
_UNUSUAL = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"trailer"})
"""Headers that change how a request or its answer is framed."""

T = TypeVar("T")


def split_head(data: bytes) -> tuple[bytes, int, int] | None:
    """Return what a head is known by, the length of its body, and where that begins.

    The length is -1 when no Content-Length stands last; the key is the whole head then.

    Returns:
        None when the head is not whole, or no usual one.
    """
    end = data.find(_END)
    if not 0 < end <= HEAD_BYTES_MAX:
        return None
    line = data.rfind(b"\r\n", 0, end)
    if not data.startswith(_LENGTH_NAMES, line + 2):
        return data[:end], -1, end + 4
    digits = data[line + 2 + _LENGTH_BYTES : end]
    if not (digits.isdigit() and len(digits) <= _DIGITS_MAX):
        return None
    return data[:line], int(digits), end + 4


class KnownHeads(Generic[T]):
    """What was found in heads, by their bytes; shared by all connections of a server."""

    def __init__(self) -> None:
        self._found: dict[bytes, tuple[T, int]] = {}
        """And the length of the body; -1: it stands last in the head, and is no part of the key."""

    def __len__(self) -> int:
        return len(self._found)

    def find(self, data: bytes) -> tuple[T, bytes] | None:
        """Return what is known of a request that is all of `data`, and its body."""
        split = split_head(data)
        if split is None:
            return None
        key, length, begin = split
        known = self._found.get(key)
        if known is None:
            return None
        found, kept_length = known
        if len(data) - begin != (length if length >= 0 else kept_length):
            return None  # the rest comes later, or another request comes with it
        return found, data[begin:]

    def learn(self, data: bytes, headers: Sequence[tuple[bytes, bytes]], found: T) -> None:
        """Remember what a parser found in a head, if it is a usual one.

        Args:
            data: what the request began with, at its first byte.
            headers: as parsed, names in lower case.
            found: what is to be remembered.
        """
        split = split_head(data)
        if split is None:
            return
        key, length, begin = split
        head = data[:begin]
        names = [name for name, _ in headers]
        lengths = [value for name, value in headers if name == b"content-length"]
        if (
            not _UNUSUAL.isdisjoint(names)
            or len(lengths) > 1
            or any(n == b"connection" and v.lower() != b"keep-alive" for n, v in headers)
            or head.count(b"\n") != len(headers) + 2  # nothing is folded, no line ends otherwise
            or head.count(b"\r\n") != len(headers) + 2
        ):
            return
        if length < 0 and lengths:
            if not (lengths[0].isdigit() and len(lengths[0]) <= _DIGITS_MAX):
                return
            length = int(lengths[0])
            self._keep(key, found, length)
        else:
            self._keep(key, found, -1 if length >= 0 else 0)

    def _keep(self, key: bytes, found: T, length: int) -> None:
        if len(self._found) >= HEADS_MAX:
            self._found.clear()
        self._found[key] = (found, length)
