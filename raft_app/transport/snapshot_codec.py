"""Parts of a snapshot to frames and back; the bodies are MessagePack arrays, checked by type."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec
from msgspec.msgpack import Decoder, Encoder

from raft_app.core.types import EntryKind, Membership, SnapshotMeta
from raft_app.transport.codec import EntryFields, Number, decode_entries, entries_body
from raft_app.transport.frames import FrameError, FrameKind, encode_frame
from raft_app.transport.snapshot_stream import (
    SnapshotAnswer,
    SnapshotEnd,
    SnapshotInstalled,
    SnapshotOffer,
    SnapshotRows,
    SnapshotState,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.transport.frames import EncodedFrame, Frame
    from raft_app.transport.snapshot_stream import SnapshotPart

# to, term, last_index, last_term, membership, membership_index, log_start_offset, next_offset,
# state_bytes
_OFFER = Decoder(tuple[Number, Number, Number, Number, bytes, Number, Number, Number, Number])
# accepted, from_offset, has_it
_ANSWER = Decoder(tuple[bool, Number, bool])
# entries as in AppendEntries
_ROWS = Decoder(tuple[list[EntryFields]])
# data
_STATE = Decoder(tuple[bytes])
_NOTHING = Decoder(tuple[()])

_encode = Encoder().encode


def encode_part(part: SnapshotPart) -> EncodedFrame:
    """Return the frame of one part."""
    match part:
        case SnapshotOffer():
            meta = part.meta
            fields = (
                part.to,
                part.term,
                meta.last_index,
                meta.last_term,
                meta.membership.encode(),
                meta.membership_index,
                part.log_start_offset,
                part.next_offset,
                part.state_bytes,
            )
            return encode_frame(
                FrameKind.SNAPSHOT_OFFER,
                (_encode(fields),),
                group_id=part.group_id,
                sender=part.sender,
            )
        case SnapshotAnswer():
            answer = (part.accepted, part.from_offset, part.has_it)
            return encode_frame(FrameKind.SNAPSHOT_ANSWER, (_encode(answer),))
        case SnapshotRows():
            return encode_frame(FrameKind.SNAPSHOT_ROWS, entries_body((), part.entries))
        case SnapshotState():
            return encode_frame(FrameKind.SNAPSHOT_STATE, (_encode((part.data,)),))
        case SnapshotEnd():
            return encode_frame(FrameKind.SNAPSHOT_END, (_encode(()),))
        case SnapshotInstalled():
            return encode_frame(FrameKind.SNAPSHOT_INSTALLED, (_encode(()),))
        case _:
            assert_never(part)


def decode_part(frame: Frame) -> SnapshotPart:
    """Return the part that a frame carries.

    Raises:
        FrameError: it carries none, or its body is not exactly what its kind demands.
    """
    reader = _READERS.get(frame.kind)
    if reader is None:
        raise FrameError("kind", f"a {frame.kind.name} frame carries no part of a snapshot")
    try:
        return reader(frame)
    except (msgspec.DecodeError, ValueError) as error:
        raise FrameError("body", f"{frame.kind.name}: {error}") from error


def _read_offer(frame: Frame) -> SnapshotOffer:
    to, term, last_index, last_term, membership, membership_index, *numbers = _OFFER.decode(
        frame.body
    )
    log_start_offset, next_offset, state_bytes = numbers
    if log_start_offset > next_offset or not (frame.group_id and frame.sender and to):
        raise ValueError("not an offer")
    return SnapshotOffer(
        group_id=frame.group_id,
        to=to,
        sender=frame.sender,
        term=term,
        meta=SnapshotMeta(last_index, last_term, Membership.decode(membership), membership_index),
        log_start_offset=log_start_offset,
        next_offset=next_offset,
        state_bytes=state_bytes,
    )


def _read_answer(frame: Frame) -> SnapshotAnswer:
    accepted, from_offset, has_it = _ANSWER.decode(frame.body)
    return SnapshotAnswer(accepted, from_offset, has_it)


def _read_rows(frame: Frame) -> SnapshotRows:
    (rows,) = _ROWS.decode(frame.body)
    entries = decode_entries(rows)
    before = 0
    for entry in entries:
        if entry.kind is not EntryKind.DATA or entry.record_count < 1 or entry.index <= before:
            raise ValueError(f"entry {entry.index} is no row of a snapshot")
        before = entry.index
    return SnapshotRows(entries)


def _read_state(frame: Frame) -> SnapshotState:
    (data,) = _STATE.decode(frame.body)
    return SnapshotState(data)


def _read_end(frame: Frame) -> SnapshotEnd:
    _NOTHING.decode(frame.body)
    return SnapshotEnd()


def _read_installed(frame: Frame) -> SnapshotInstalled:
    _NOTHING.decode(frame.body)
    return SnapshotInstalled()


_READERS: dict[FrameKind, Callable[[Frame], SnapshotPart]] = {
    FrameKind.SNAPSHOT_OFFER: _read_offer,
    FrameKind.SNAPSHOT_ANSWER: _read_answer,
    FrameKind.SNAPSHOT_ROWS: _read_rows,
    FrameKind.SNAPSHOT_STATE: _read_state,
    FrameKind.SNAPSHOT_END: _read_end,
    FrameKind.SNAPSHOT_INSTALLED: _read_installed,
}
