"""Frames are cut exactly, and nothing broken becomes a frame."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_app.transport.frames import (
    HEADER_BYTES,
    PING_FRAME,
    READ_BUFFER_BYTES,
    FrameError,
    FrameKind,
    FrameReader,
    encode_frame,
)

LIMIT = 1 << 20


def joined(kind: FrameKind, *body: bytes, group_id: int = 0, sender: int = 0) -> bytes:
    frame = encode_frame(kind, body, group_id=group_id, sender=sender)
    data = b"".join(frame.buffers)
    assert len(data) == frame.size_bytes
    return data


def plain(frame) -> tuple:
    return (frame.kind, frame.group_id, frame.sender, bytes(frame.body))


parts = st.tuples(
    st.sampled_from(FrameKind),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 64) - 1),
    st.one_of(st.binary(max_size=50), st.integers(0, 400_000).map(bytes)),
)


@given(st.lists(parts, max_size=6), st.data())
def test_frames_arrive_however_the_bytes_are_cut(sent, data):
    stream = b"".join(joined(kind, body, group_id=g, sender=s) for kind, g, s, body in sent)
    reader = FrameReader(LIMIT)
    received = []
    while stream:
        size = data.draw(st.one_of(st.integers(1, 60), st.integers(1, 1 << 19)))
        received += [plain(frame) for frame in reader.feed(stream[:size])]
        stream = stream[size:]
    assert received == sent


def test_body_parts_after_the_first_are_not_copied():
    large = bytes(100_000)
    frame = encode_frame(FrameKind.APPEND_ENTRIES, (b"head", large, b"tail"))
    assert frame.buffers[1] is large
    [received] = FrameReader(LIMIT).feed(b"".join(frame.buffers))
    assert bytes(received.body) == b"head" + large + b"tail"


def test_no_flipped_bit_becomes_a_frame():
    whole = joined(FrameKind.TIMEOUT_NOW, b"\x92\x01\x02", group_id=7, sender=9)
    refused = 0
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert list(FrameReader(LIMIT).feed(bytes(flipped))) == []
        except FrameError:
            refused += 1
    # Only a length that became larger, within the limit, may wait for more.
    assert refused >= len(whole) * 8 - 20


def test_a_longer_length_is_found_wrong_when_more_bytes_come():
    whole = bytearray(joined(FrameKind.TIMEOUT_NOW, b"\x92\x01\x02", group_id=7, sender=9))
    whole[3] ^= 64
    reader = FrameReader(LIMIT)
    with pytest.raises(FrameError, match="checksum"):
        list(reader.feed(bytes(whole) + PING_FRAME.buffers[0] * 4))


def test_random_bytes_are_refused():
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - to repeat it
    chance = random.Random(seed)
    for _ in range(300):
        with pytest.raises(FrameError):
            list(FrameReader(LIMIT).feed(chance.randbytes(200)))


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [(0, 0xFF, "oversize"), (8, 2, "version"), (9, 99, "kind"), (9, 15, "kind")],
)
def test_a_bad_header_is_refused_before_its_body_came(position, value, reason):
    header = bytearray(joined(FrameKind.PRE_VOTE, bytes(1_000))[:HEADER_BYTES])
    header[position] = value
    with pytest.raises(FrameError) as caught:
        list(FrameReader(LIMIT).feed(bytes(header)))
    assert caught.value.reason == reason


def test_a_length_below_the_header_is_refused():
    data = (17).to_bytes(4, "big") + joined(FrameKind.PRE_VOTE, b"")[4:]
    with pytest.raises(FrameError):
        list(FrameReader(LIMIT).feed(data))


def test_the_limit_counts_the_header():
    data = joined(FrameKind.PRE_VOTE, bytes(100))
    assert len(list(FrameReader(len(data)).feed(data))) == 1
    with pytest.raises(FrameError) as caught:
        list(FrameReader(len(data) - 1).feed(data))
    assert caught.value.reason == "oversize"


def test_a_raised_limit_holds_from_the_next_frame_on():
    data = joined(FrameKind.PRE_VOTE, bytes(5_000))
    reader = FrameReader(1_024)
    assert len(list(reader.feed(PING_FRAME.buffers[0]))) == 1
    reader.raise_limit(LIMIT)
    assert len(list(reader.feed(data * 3))) == 3


def test_the_buffer_grows_for_a_large_frame_and_shrinks_again():
    reader = FrameReader(32 << 20)
    assert len(reader.get_buffer()) == READ_BUFFER_BYTES
    data = joined(FrameKind.APPEND_ENTRIES, bytes(5 << 20))
    [frame] = reader.feed(data)
    assert len(frame.body) == 5 << 20
    assert len(reader.get_buffer()) == READ_BUFFER_BYTES


def test_a_large_frame_is_received_where_it_stays():
    reader = FrameReader(32 << 20)
    data = joined(FrameKind.APPEND_ENTRIES, bytes(1 << 20))
    list(reader.feed(data[:1_000]))
    assert len(reader.get_buffer()) == len(data) - 1_000
