"""Parts of snapshots as frames."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_app.core.types import Entry, EntryKind, Membership, RaftMember, SnapshotMeta
from raft_app.transport.frames import FrameError, FrameKind, FrameReader, encode_frame
from raft_app.transport.snapshot_codec import decode_part, encode_part
from raft_app.transport.snapshot_stream import (
    SnapshotAnswer,
    SnapshotEnd,
    SnapshotInstalled,
    SnapshotOffer,
    SnapshotRows,
    SnapshotState,
)
from tests.raft_app.transport.transport_harness import data, ids, numbers

MEMBERSHIP = Membership(
    voters=(RaftMember(1, 1), RaftMember(2, 2)), learners=(RaftMember(3, 3),), version=4
)
SMALL = st.integers(0, 1 << 40)


@st.composite
def offers(draw: st.DrawFn) -> SnapshotOffer:
    last_index = draw(st.integers(1, 1 << 40))
    log_start = draw(SMALL)
    return SnapshotOffer(
        group_id=draw(ids),
        to=draw(ids),
        sender=draw(ids),
        term=draw(numbers),
        meta=SnapshotMeta(last_index, draw(numbers), MEMBERSHIP, draw(st.integers(0, last_index))),
        log_start_offset=log_start,
        next_offset=log_start + draw(SMALL),
        state_bytes=draw(numbers),
    )


@st.composite
def rows(draw: st.DrawFn) -> SnapshotRows:
    indexes = sorted(draw(st.sets(st.integers(1, 1 << 40), max_size=20)))
    return SnapshotRows(
        tuple(
            Entry(index, draw(numbers), EntryKind.DATA, draw(data), draw(numbers), 1 + place, 17)
            for place, index in enumerate(indexes)
        )
    )


parts = st.one_of(
    offers(),
    rows(),
    st.builds(SnapshotAnswer, st.booleans(), numbers, st.booleans()),
    st.builds(SnapshotState, data),
    st.just(SnapshotEnd()),
    st.just(SnapshotInstalled()),
)


def read(frame_bytes: bytes):
    [frame] = FrameReader(64 << 20).feed(frame_bytes)
    return decode_part(frame)


@given(parts)
def test_every_part_comes_back_as_it_was(part):
    assert read(b"".join(encode_part(part).buffers)) == part


def test_large_rows_are_not_copied():
    batch = bytes(100_000)
    frame = encode_part(SnapshotRows((Entry(1, 1, EntryKind.DATA, batch, 0, 1, 1),)))
    assert any(buffer is batch for buffer in frame.buffers)


def frame_of(kind: FrameKind, body: object, **header: int) -> bytes:
    return b"".join(encode_frame(kind, (msgspec.msgpack.encode(body),), **header).buffers)


OFFER = (2, 3, 40, 2, MEMBERSHIP.encode(), 9, 5, 30, 3)
ROW = (7, 1, EntryKind.DATA, 0, 1, 17, b"x")


@pytest.mark.parametrize(
    ("kind", "body", "header"),
    [
        (FrameKind.SNAPSHOT_OFFER, OFFER, {}),
        (FrameKind.SNAPSHOT_OFFER, (0, *OFFER[1:]), {"group_id": 1, "sender": 1}),
        (FrameKind.SNAPSHOT_OFFER, (*OFFER[:7], 4, 3), {"group_id": 1, "sender": 1}),
        (FrameKind.SNAPSHOT_OFFER, (2, 3, 8, *OFFER[3:]), {"group_id": 1, "sender": 1}),
        (FrameKind.SNAPSHOT_OFFER, (*OFFER[:4], b"[]", *OFFER[5:]), {"group_id": 1, "sender": 1}),
        (FrameKind.SNAPSHOT_ANSWER, (True, -1, False), {}),
        (FrameKind.SNAPSHOT_ROWS, ([(7, 1, EntryKind.NOOP, 0, 1, 17, b"x")],), {}),
        (FrameKind.SNAPSHOT_ROWS, ([ROW, ROW],), {}),
        (FrameKind.SNAPSHOT_ROWS, ([(*ROW[:4], 0, 17, b"x")],), {}),
        (FrameKind.SNAPSHOT_STATE, ("text",), {}),
        (FrameKind.SNAPSHOT_END, (1,), {}),
        (FrameKind.HEARTBEATS, (1,), {}),
    ],
)
def test_anything_else_is_refused(kind, body, header):
    with pytest.raises(FrameError):
        read(frame_of(kind, body, **header))
