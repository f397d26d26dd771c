"""Every RPC survives the way to bytes and back; nothing else becomes one."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as change

from raft_app.core.types import AppendEntries, EntryKind, Heartbeat, HeartbeatReply, Rpc
from raft_app.transport.codec import MAX_NUMBER, MIN_REFERRED_BYTES, decode_frame, encode_rpcs
from raft_app.transport.frames import Frame, FrameError, FrameKind, FrameReader
from tests.raft_app.transport.transport_harness import (
    EVERY_RPC,
    append,
    append_entries,
    ids,
    rpc_strategies,
    rpcs,
)

RPC_KINDS = [kind for kind in FrameKind if FrameKind.PRE_VOTE <= kind <= FrameKind.WAKE]
MANY = (FrameKind.HEARTBEATS, FrameKind.HEARTBEAT_REPLIES)


def received(frames) -> list[tuple[int, Rpc]]:
    stream = b"".join(buffer for frame in frames for buffer in frame.buffers)
    reader = FrameReader(32 << 20)
    return [pair for frame in reader.feed(stream) for pair in decode_frame(frame)]


def body_of(rpc: Rpc) -> tuple[FrameKind, object]:
    """Return an RPC's frame kind and its body as plain values."""
    control, appends = encode_rpcs([(7, rpc)])
    [frame] = FrameReader(32 << 20).feed(b"".join((control + appends)[0].buffers))
    return frame.kind, msgspec.msgpack.decode(frame.body)


def frame_of(kind: FrameKind, body: object, *, group_id: int | None = None) -> Frame:
    many = kind in MANY
    data = body if isinstance(body, bytes) else msgspec.msgpack.encode(body)
    group = (0 if many else 7) if group_id is None else group_id
    return Frame(kind, group, 0 if many else 1, memoryview(data))


def test_every_rpc_has_a_strategy_and_an_example():
    assert set(rpc_strategies) == set(Rpc.__args__) == {type(rpc) for rpc in EVERY_RPC}


@pytest.mark.parametrize("kind", rpc_strategies, ids=lambda kind: kind.__name__)
@given(data=st.data(), group_id=ids)
def test_an_rpc_comes_back_equal(kind, data, group_id):
    rpc = data.draw(rpc_strategies[kind])
    control, appends = encode_rpcs([(group_id, rpc)])
    assert received(control + appends) == [(group_id, rpc)]
    assert bool(appends) == (kind is AppendEntries)


@given(st.lists(st.tuples(ids, rpcs), max_size=12))
def test_a_mixture_comes_back_whole_and_in_the_order_of_each_kind(sent):
    control, appends = encode_rpcs(sent)
    got = received(control + appends)
    for kind in rpc_strategies:
        assert [pair for pair in got if type(pair[1]) is kind] == [
            pair for pair in sent if type(pair[1]) is kind
        ]


def test_heartbeats_of_all_groups_are_one_frame_and_their_replies_another():
    beats = [(group, Heartbeat(group + 1, group, 3, 4, 5)) for group in range(1, 1_001)]
    replies = [(group, HeartbeatReply(group + 1, group, 3, 5)) for group in range(1, 1_001)]
    sent = [pair for two in zip(beats, replies, strict=True) for pair in two]
    control, appends = encode_rpcs(sent)
    assert (len(control), appends) == (2, [])
    assert received(control) == beats + replies
    assert sum(frame.size_bytes for frame in control) < 40_000


@given(append_entries())
def test_a_body_in_parts_is_what_the_encoder_makes_of_it_whole(rpc):
    _, [frame] = encode_rpcs([(1, rpc)])
    entries = [
        (e.index, e.term, e.kind, e.base_offset, e.record_count, e.append_timestamp, e.data)
        for e in rpc.entries
    ]
    whole = msgspec.msgpack.encode(
        (rpc.to, rpc.term, rpc.prev_index, rpc.prev_term, rpc.commit, entries)
    )
    assert b"".join(frame.buffers)[26:] == whole


@pytest.mark.parametrize("count", [1, 15, 16, 70_000])
def test_headers_of_arrays_of_any_length_are_right(count):
    entry = append(1, 0).entries[0]
    first = replace(entry, data=bytes(MIN_REFERRED_BYTES))
    entries = (first, *(replace(entry, index=index) for index in range(2, count + 1)))
    rpc = AppendEntries(2, 1, 1, 0, 0, entries, 0)
    assert received(encode_rpcs([(1, rpc)])[1]) == [(1, rpc)]


@pytest.mark.parametrize("size", [MIN_REFERRED_BYTES, 65_535, 65_536, 1 << 20])
def test_large_data_is_sent_from_where_it_lies(size):
    rpc = append(5, size)
    _, [frame] = encode_rpcs([(1, rpc)])
    assert any(buffer is rpc.entries[0].data for buffer in frame.buffers)
    assert received([frame]) == [(1, rpc)]


def test_received_data_does_not_depend_on_the_buffer():
    _, [frame] = encode_rpcs([(1, append(5, 10))])
    buffer = bytearray(b"".join(frame.buffers)[26:])
    [(_, rpc)] = decode_frame(Frame(FrameKind.APPEND_ENTRIES, 1, 1, memoryview(buffer)))
    buffer[:] = bytes([255]) * len(buffer)
    assert type(rpc.entries[0].data) is bytes
    assert rpc.entries[0].data == bytes(10)


WRONG_VALUES = [-1, MAX_NUMBER + 1, 1 << 64, 1.5, None, "1", [], {}]


def _wrong_bodies(body: list) -> list[object]:
    """Return variants of a right body with one wrong place each, at every depth."""
    wrong: list[object] = [[], {}, None, 7, body[:-1], [*body, 0]]
    for position, value in enumerate(body):
        variants = list(WRONG_VALUES)
        if isinstance(value, list):
            inner = [v for v in _wrong_bodies(value) if v != []]
            variants = [None, -1, "1", {}, *inner]
        elif isinstance(value, bool):
            variants += [0, 1]
        else:
            variants += [True, False]
        wrong += [[*body[:position], variant, *body[position + 1 :]] for variant in variants]
    return wrong


@pytest.mark.parametrize("rpc", EVERY_RPC, ids=lambda rpc: type(rpc).__name__)
def test_a_body_with_anything_wrong_is_refused(rpc):
    kind, body = body_of(rpc)
    assert decode_frame(frame_of(kind, body))
    for wrong in _wrong_bodies(body):
        try:
            packed = msgspec.msgpack.encode(wrong)
        except OverflowError:
            continue  # MessagePack cannot even say it
        with pytest.raises(FrameError) as caught:
            decode_frame(frame_of(kind, packed))
        assert caught.value.reason == "body"


@pytest.mark.parametrize("rpc", EVERY_RPC, ids=lambda rpc: type(rpc).__name__)
def test_trailing_and_missing_bytes_are_refused(rpc):
    kind, body = body_of(rpc)
    packed = msgspec.msgpack.encode(body)
    for wrong in (packed + b"\x00", packed + packed, *(packed[:n] for n in range(len(packed)))):
        with pytest.raises(FrameError):
            decode_frame(frame_of(kind, wrong))


@pytest.mark.parametrize("rpc", EVERY_RPC, ids=lambda rpc: type(rpc).__name__)
def test_a_wrong_group_or_sender_in_the_header_is_refused(rpc):
    kind, body = body_of(rpc)
    right = frame_of(kind, body)
    numbers = (1, MAX_NUMBER + 1) if kind in MANY else (0, MAX_NUMBER + 1)
    for number in numbers:
        for wrong in (change(right, group_id=number), change(right, sender=number)):
            with pytest.raises(FrameError):
                decode_frame(wrong)


@pytest.mark.parametrize("kind", [kind for kind in FrameKind if kind not in RPC_KINDS])
def test_frames_of_other_kinds_carry_no_rpcs(kind):
    with pytest.raises(FrameError):
        decode_frame(frame_of(kind, [1, 2]))


def test_an_unknown_kind_of_entry_is_refused():
    kind, body = body_of(append(3, 10))
    body[5][0][2] = max(EntryKind) + 1
    with pytest.raises(FrameError):
        decode_frame(frame_of(kind, body))


def test_entries_that_do_not_follow_each_other_are_refused():
    first, second = append(3, 10), append(5, 10)
    rpc = replace(first, entries=first.entries + second.entries)
    with pytest.raises(FrameError, match="entry 5 where 4 belongs"):
        received(encode_rpcs([(1, rpc)])[1])


@given(st.sampled_from(RPC_KINDS), st.binary(max_size=60))
def test_a_random_body_is_refused_or_is_an_rpc(kind, body):
    try:
        pairs = decode_frame(frame_of(kind, body))
    except FrameError:
        return
    assert pairs
    assert all(isinstance(rpc, Rpc) for _, rpc in pairs)


@given(rpcs, st.data())
def test_a_body_with_a_changed_byte_is_refused_or_is_an_rpc(rpc, data):
    kind, body = body_of(rpc)
    packed = bytearray(msgspec.msgpack.encode(body))
    packed[data.draw(st.integers(0, min(len(packed), 400) - 1))] = data.draw(st.integers(0, 255))
    try:
        pairs = decode_frame(frame_of(kind, bytes(packed)))
    except FrameError:
        return
    assert all(isinstance(found, Rpc) for _, found in pairs)
