"""Frames: how the bytes of a connection are cut into parts, without any I/O.

A frame, numbers big-endian:

    length   u32   bytes after the checksum
    checksum u32   CRC-32, begun with the length, over all that follows
    version  u8
    kind     u8
    group    u64   group id; 0 where a frame belongs to none or to many
    sender   u64   replica id of the sender; 0 likewise
    body           MessagePack, see `raft_app.transport.codec` and `raft_app.transport.handshake`

`FrameReader` serves an `asyncio.BufferedProtocol`: the socket writes into its buffer, and bodies
are views of it, so that a large body is copied once, when the RPC is made of it.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FRAME_VERSION = 1
_PREFIX = Struct(">II")
_META = Struct(">BBQQ")
_HEADER = Struct(">IIBBQQ")
_PREFIX_BYTES = _PREFIX.size
_META_BYTES = _META.size
HEADER_BYTES = _HEADER.size

READ_BUFFER_BYTES = 256 << 10
"""Ordinary size of a reader's buffer; bounds what one turn of the loop parses."""
_KEPT_BUFFER_BYTES = 2 << 20
"""A buffer that grew beyond it for a large frame is given back afterwards."""


class FrameKind(IntEnum):
    """What a frame carries. The numbers are sent: never reuse one."""

    PING = 1
    HELLO = 2
    CHALLENGE = 3
    PROOF = 4
    ACCEPTED = 5
    PRE_VOTE = 16
    PRE_VOTE_REPLY = 17
    REQUEST_VOTE = 18
    REQUEST_VOTE_REPLY = 19
    APPEND_ENTRIES = 20
    APPEND_ENTRIES_REPLY = 21
    HEARTBEATS = 22
    """Heartbeats of many groups."""
    HEARTBEAT_REPLIES = 23
    """Heartbeat replies of many groups."""
    TIMEOUT_NOW = 24
    QUIESCE = 25
    WAKE = 26
    SNAPSHOT_OFFER = 32
    SNAPSHOT_ANSWER = 33
    SNAPSHOT_ROWS = 34
    SNAPSHOT_STATE = 35
    SNAPSHOT_END = 36
    SNAPSHOT_INSTALLED = 37


_KINDS = {int(kind): kind for kind in FrameKind}


class FrameError(Exception):
    """What came is not what a peer may send; its connection must be closed.

    Attributes:
        reason: one word for counters: `oversize`, `version`, `kind`, `checksum`, `body`, ...
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Frame(msgspec.Struct, frozen=True):
    """One received frame. `body` is valid until the reader's buffer is asked for again."""

    kind: FrameKind
    group_id: int
    sender: int
    body: memoryview


class EncodedFrame(msgspec.Struct, frozen=True):
    """One frame to send, in buffers to be written one after the other."""

    size_bytes: int
    buffers: tuple[bytes, ...]


def encode_frame(
    kind: FrameKind, body: Sequence[bytes], *, group_id: int = 0, sender: int = 0
) -> EncodedFrame:
    """Return a frame around a body given in parts.

    The first part is copied behind the header; the others are referred to as they are.
    """
    length = _META_BYTES
    for part in body:
        length += len(part)
    meta = _META.pack(FRAME_VERSION, kind, group_id, sender)
    checksum = crc32(meta, length)
    for part in body:
        checksum = crc32(part, checksum)
    first = b"".join((_PREFIX.pack(length, checksum), meta, *body[:1]))
    return EncodedFrame(_PREFIX_BYTES + length, (first, *body[1:]))


PING_FRAME = encode_frame(FrameKind.PING, ())


class FrameReader:
    """Turns received bytes into frames.

    Use: write into `get_buffer()`, add the count to `unread`, then call `next_frame()` until it
    returns `None`, or while there is something `unread`. After a `FrameError` the reader is of no
    more use.
    """

    def __init__(self, max_frame_bytes: int) -> None:
        """Accept frames up to `max_frame_bytes`, header included."""
        self._max_frame_bytes = max_frame_bytes
        self._buffer_bytes = min(READ_BUFFER_BYTES, max(max_frame_bytes, HEADER_BYTES))
        self._view = memoryview(bytearray(self._buffer_bytes))
        self._start = 0
        self.unread = 0
        """Bytes that were written and belong to no frame that was returned; who writes adds."""
        self._wanted_bytes = HEADER_BYTES

    def raise_limit(self, max_frame_bytes: int) -> None:
        """Accept frames up to another size from here on."""
        self._max_frame_bytes = max_frame_bytes
        self._buffer_bytes = min(READ_BUFFER_BYTES, max(max_frame_bytes, HEADER_BYTES))

    def get_buffer(self) -> memoryview:
        """Return where to write next; never empty. Ends the life of earlier frames' bodies."""
        pending = self.unread
        size = len(self._view)
        if pending == 0:
            self._start = 0
            if not self._buffer_bytes <= size <= _KEPT_BUFFER_BYTES:
                self._view = memoryview(bytearray(self._buffer_bytes))
        elif self._start + self._wanted_bytes > size:
            target = self._view
            if self._wanted_bytes > size:
                target = memoryview(bytearray(max(self._wanted_bytes, self._buffer_bytes)))
            target[:pending] = self._view[self._start : self._start + pending]
            self._view = target
            self._start = 0
        return self._view[self._start + pending :]

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes: the three steps in one, for small users."""
        rest = memoryview(data)
        while rest:
            buffer = self.get_buffer()
            count = min(len(buffer), len(rest))
            buffer[:count] = rest[:count]
            rest = rest[count:]
            self.unread += count
            while (frame := self.next_frame()) is not None:
                yield frame

    def next_frame(self) -> Frame | None:
        """Return the next whole frame, or `None` when more bytes are needed.

        Raises:
            FrameError: oversize or undersize, unknown version or kind, wrong checksum.
        """
        start = self._start
        available = self.unread
        if available < HEADER_BYTES:
            self._wanted_bytes = HEADER_BYTES
            return None
        length, checksum, version, number, group_id, sender = _HEADER.unpack_from(self._view, start)
        total = _PREFIX_BYTES + length
        kind = _KINDS.get(number)
        if total > self._max_frame_bytes:
            raise FrameError("oversize", f"frame of {total} bytes")
        if length < _META_BYTES:
            raise FrameError("checksum", f"frame of {total} bytes is shorter than its header")
        if version != FRAME_VERSION:
            raise FrameError("version", f"frame version {version}")
        if kind is None:
            raise FrameError("kind", f"frame kind {number}")
        if available < total:
            self._wanted_bytes = total
            return None
        end = start + total
        if crc32(self._view[start + _PREFIX_BYTES : end], length) != checksum:
            raise FrameError("checksum", f"wrong checksum of a frame of {total} bytes")
        self._start = end
        self.unread = available - total
        return Frame(kind, group_id, sender, self._view[start + HEADER_BYTES : end])
