"""RPCs to frames and back: bodies are MessagePack arrays, checked by type when read.

The sender's replica id and the group id travel in the frame's header; heartbeats of many groups
share a frame and carry theirs in the body. What an array holds is to be read at its decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, assert_never

import msgspec
from msgspec import Meta
from msgspec.msgpack import Decoder, Encoder

from raft_app.core.types import (
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Quiesce,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    Wake,
)
from raft_app.transport.frames import EncodedFrame, Frame, FrameError, FrameKind, encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raft_app.core.types import Rpc

MAX_NUMBER = (1 << 63) - 1
"""Largest number that SQLite stores; nothing above it is accepted."""
MIN_REFERRED_BYTES = 16 << 10
"""Entry data from this size on is sent from where it lies instead of being copied."""

Number = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
_Id = Annotated[int, Meta(ge=1, le=MAX_NUMBER)]
EntryFields = tuple[Number, Number, EntryKind, Number, Number, Number, bytes]
"""index, term, kind, base_offset, record_count, append_timestamp, data."""
_HeartbeatFields = tuple[_Id, _Id, _Id, Number, Number, Number]
_HeartbeatReplyFields = tuple[_Id, _Id, _Id, Number, Number]

# to, term, last_index, last_term
_PRE_VOTE = Decoder(tuple[_Id, Number, Number, Number])
# to, term, last_index, last_term, transfer
_REQUEST_VOTE = Decoder(tuple[_Id, Number, Number, Number, bool])
# to, term, granted (of both kinds)
_VOTE_REPLY = Decoder(tuple[_Id, Number, bool])
# to, term, prev_index, prev_term, commit, entries: each index, term, kind, base_offset,
# record_count, append_timestamp, data
_APPEND_ENTRIES = Decoder(
    tuple[_Id, Number, Number, Number, Number, list[EntryFields]],
)
# to, term, success, index, conflict_index, conflict_term, last_index, wants_snapshot
_APPEND_ENTRIES_REPLY = Decoder(
    tuple[_Id, Number, bool, Number, Number, Number, Number, bool],
)
# each group id, to, sender, term, commit, context
_HEARTBEATS = Decoder(Annotated[list[_HeartbeatFields], Meta(min_length=1)])
# each group id, to, sender, term, context
_HEARTBEAT_REPLIES = Decoder(Annotated[list[_HeartbeatReplyFields], Meta(min_length=1)])
# to, term, commit, lagging
_QUIESCE = Decoder(tuple[_Id, Number, Number, tuple[_Id, ...]])
# to, term
_WAKE = _TIMEOUT_NOW = Decoder(tuple[_Id, Number])

_encode = Encoder().encode


def encode_rpcs(
    rpcs: Sequence[tuple[int, Rpc]],
) -> tuple[list[EncodedFrame], list[EncodedFrame]]:
    """Return the frames of (group id, RPC) pairs to one broker: control frames, append frames.

    Heartbeats share one frame and so do heartbeat replies; these two come first.
    """
    heartbeats: list[tuple[int, ...]] = []
    replies: list[tuple[int, ...]] = []
    control: list[EncodedFrame] = []
    appends: list[EncodedFrame] = []
    for group_id, rpc in rpcs:
        if isinstance(rpc, Heartbeat):
            heartbeats.append(
                (group_id, rpc.to, rpc.sender, rpc.term, rpc.commit, rpc.context),
            )
        elif isinstance(rpc, HeartbeatReply):
            replies.append((group_id, rpc.to, rpc.sender, rpc.term, rpc.context))
        else:
            kind, body = _encode_body(rpc)
            frame = encode_frame(kind, body, group_id=group_id, sender=rpc.sender)
            (appends if kind is FrameKind.APPEND_ENTRIES else control).append(frame)
    if replies:
        control.insert(0, encode_frame(FrameKind.HEARTBEAT_REPLIES, (_encode(replies),)))
    if heartbeats:
        control.insert(0, encode_frame(FrameKind.HEARTBEATS, (_encode(heartbeats),)))
    return control, appends


_Single = (
    AppendEntriesReply
    | AppendEntries
    | PreVote
    | PreVoteReply
    | RequestVote
    | RequestVoteReply
    | Quiesce
    | Wake
    | TimeoutNow
)


def _encode_body(rpc: _Single) -> tuple[FrameKind, Sequence[bytes]]:
    fields: tuple[object, ...]
    match rpc:
        case AppendEntriesReply(to, _, term, success, index, conflict, conflict_term, last, wants):
            kind = FrameKind.APPEND_ENTRIES_REPLY
            fields = (to, term, success, index, conflict, conflict_term, last, wants)
        case AppendEntries(to, _, term, prev_index, prev_term, entries, commit):
            head = (to, term, prev_index, prev_term, commit)
            return FrameKind.APPEND_ENTRIES, entries_body(head, entries)
        case PreVote(to, _, term, last_index, last_term):
            kind, fields = FrameKind.PRE_VOTE, (to, term, last_index, last_term)
        case PreVoteReply(to, _, term, granted):
            kind, fields = FrameKind.PRE_VOTE_REPLY, (to, term, granted)
        case RequestVote(to, _, term, last_index, last_term, transfer):
            kind, fields = FrameKind.REQUEST_VOTE, (to, term, last_index, last_term, transfer)
        case RequestVoteReply(to, _, term, granted):
            kind, fields = FrameKind.REQUEST_VOTE_REPLY, (to, term, granted)
        case Quiesce(to, _, term, commit, lagging):
            kind, fields = FrameKind.QUIESCE, (to, term, commit, lagging)
        case Wake(to, _, term):
            kind, fields = FrameKind.WAKE, (to, term)
        case TimeoutNow(to, _, term):
            kind, fields = FrameKind.TIMEOUT_NOW, (to, term)
        case _:
            assert_never(rpc)
    return kind, (_encode(fields),)


def _entry_fields(entry: Entry, data: bytes) -> tuple[object, ...]:
    return (
        entry.index,
        entry.term,
        entry.kind,
        entry.base_offset,
        entry.record_count,
        entry.append_timestamp,
        data,
    )


def entries_body(head: tuple[int, ...], entries: Sequence[Entry]) -> list[bytes]:
    """Return the MessagePack array of `head` and the list of entries, in parts.

    Large data is a part of its own and not copied.
    """
    rows = []
    for entry in entries:
        match entry:
            case Entry(index, term, kind, data, base_offset, record_count, append_timestamp):
                if len(data) >= MIN_REFERRED_BYTES:
                    return _body_in_parts(head, entries)
                rows.append((index, term, kind, base_offset, record_count, append_timestamp, data))
    return [_encode((*head, rows))]


def _body_in_parts(head: tuple[int, ...], entries: Sequence[Entry]) -> list[bytes]:
    parts = []
    small = bytearray(_encode((*head, ())))
    small.pop()  # the empty array's header
    small += _array_header(len(entries))
    for entry in entries:
        if len(entry.data) < MIN_REFERRED_BYTES:
            small += _encode(_entry_fields(entry, entry.data))
            continue
        small += _encode(_entry_fields(entry, b""))
        del small[-2:]  # the empty data's header
        small += _data_header(len(entry.data))
        parts += [bytes(small), entry.data]
        small = bytearray()
    if small:
        parts.append(bytes(small))
    return parts


def _array_header(length: int) -> bytes:
    if length < 16:
        return bytes((0x90 | length,))
    if length < 1 << 16:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")


def _data_header(length: int) -> bytes:
    if length < 1 << 16:
        return b"\xc5" + length.to_bytes(2, "big")
    return b"\xc6" + length.to_bytes(4, "big")


def decode_frame(frame: Frame) -> list[tuple[int, Rpc]]:
    """Return the (group id, RPC) pairs that a frame carries.

    Raises:
        FrameError: the frame carries no RPCs, or its body is not exactly what its kind demands.
    """
    kind, group_id, sender, body = frame.kind, frame.group_id, frame.sender, frame.body
    try:
        single = _READERS.get(kind)
        if single is not None:
            if not (0 < group_id <= MAX_NUMBER and 0 < sender <= MAX_NUMBER):
                raise FrameError("body", f"group {group_id}, sender {sender}")
            return [(group_id, single(sender, body))]
        many = _READERS_OF_MANY.get(kind)
        if many is None:
            raise FrameError("kind", f"a {kind.name} frame carries no RPC")
        if group_id or sender:
            raise FrameError("body", f"a {kind.name} frame names a group or sender")
        return many(body)
    except msgspec.DecodeError as error:
        raise FrameError("body", f"{kind.name}: {error}") from error


def _read_heartbeats(body: memoryview) -> list[tuple[int, Rpc]]:
    return [
        (group_id, Heartbeat(to, sender, term, commit, context))
        for group_id, to, sender, term, commit, context in _HEARTBEATS.decode(body)
    ]


def _read_heartbeat_replies(body: memoryview) -> list[tuple[int, Rpc]]:
    return [
        (group_id, HeartbeatReply(to, sender, term, context))
        for group_id, to, sender, term, context in _HEARTBEAT_REPLIES.decode(body)
    ]


def _read_pre_vote(sender: int, body: memoryview) -> PreVote:
    to, term, last_index, last_term = _PRE_VOTE.decode(body)
    return PreVote(to, sender, term, last_index, last_term)


def _read_pre_vote_reply(sender: int, body: memoryview) -> PreVoteReply:
    to, term, granted = _VOTE_REPLY.decode(body)
    return PreVoteReply(to, sender, term, granted)


def _read_request_vote(sender: int, body: memoryview) -> RequestVote:
    to, term, last_index, last_term, transfer = _REQUEST_VOTE.decode(body)
    return RequestVote(to, sender, term, last_index, last_term, transfer)


def _read_request_vote_reply(sender: int, body: memoryview) -> RequestVoteReply:
    to, term, granted = _VOTE_REPLY.decode(body)
    return RequestVoteReply(to, sender, term, granted)


def _read_append_entries(sender: int, body: memoryview) -> AppendEntries:
    to, term, prev_index, prev_term, commit, rows = _APPEND_ENTRIES.decode(body)
    entries = []
    expected = prev_index
    for index, entry_term, kind, base_offset, record_count, append_timestamp, data in rows:
        expected += 1
        if index != expected:
            raise FrameError("body", f"APPEND_ENTRIES: entry {index} where {expected} belongs")
        entries.append(
            Entry(index, entry_term, kind, data, base_offset, record_count, append_timestamp)
        )
    return AppendEntries(to, sender, term, prev_index, prev_term, tuple(entries), commit)


def decode_entries(rows: Sequence[EntryFields]) -> tuple[Entry, ...]:
    """Return the entries of an array that `entries_body` wrote."""
    return tuple(
        [
            Entry(index, term, kind, data, base_offset, record_count, append_timestamp)
            for index, term, kind, base_offset, record_count, append_timestamp, data in rows
        ]
    )


def _read_append_entries_reply(sender: int, body: memoryview) -> AppendEntriesReply:
    to, term, success, index, conflict, conflict_term, last, wants_snapshot = (
        _APPEND_ENTRIES_REPLY.decode(body)
    )
    return AppendEntriesReply(
        to, sender, term, success, index, conflict, conflict_term, last, wants_snapshot
    )


def _read_quiesce(sender: int, body: memoryview) -> Quiesce:
    to, term, commit, lagging = _QUIESCE.decode(body)
    return Quiesce(to, sender, term, commit, lagging)


def _read_wake(sender: int, body: memoryview) -> Wake:
    to, term = _WAKE.decode(body)
    return Wake(to, sender, term)


def _read_timeout_now(sender: int, body: memoryview) -> TimeoutNow:
    to, term = _TIMEOUT_NOW.decode(body)
    return TimeoutNow(to, sender, term)


_READERS_OF_MANY: dict[FrameKind, Callable[[memoryview], list[tuple[int, Rpc]]]] = {
    FrameKind.HEARTBEATS: _read_heartbeats,
    FrameKind.HEARTBEAT_REPLIES: _read_heartbeat_replies,
}
_READERS: dict[FrameKind, Callable[[int, memoryview], Rpc]] = {
    FrameKind.PRE_VOTE: _read_pre_vote,
    FrameKind.PRE_VOTE_REPLY: _read_pre_vote_reply,
    FrameKind.REQUEST_VOTE: _read_request_vote,
    FrameKind.REQUEST_VOTE_REPLY: _read_request_vote_reply,
    FrameKind.APPEND_ENTRIES: _read_append_entries,
    FrameKind.APPEND_ENTRIES_REPLY: _read_append_entries_reply,
    FrameKind.QUIESCE: _read_quiesce,
    FrameKind.WAKE: _read_wake,
    FrameKind.TIMEOUT_NOW: _read_timeout_now,
}
