from __future__ import annotations

import sys

import pytest

from myqueue.contract.errors import CorruptBatch, InvalidRequest, NoLeader
from myqueue.contract.http1 import Answer
from myqueue.contract.inputs import BATCH, MSGPACK
from myqueue.contract.records import CODEC_ZSTD, Record, encode_batch, frame_batches, read_header
from myqueue.results import Fetched, Registration
from myqueue.transport.blocking import encode_body
from myqueue.transport.fetching import fetch_call, gaps, read_fetched, read_several
from tests.batches import crafted, rows, undecodable
from tests.peak_memory import PeakMemory

STORED = frame_batches(
    [(base, encode_batch([Record(f"{base + n}") for n in range(5)])) for base in (10, 15)]
)


def fetched(body: bytes, offset: int, **headers: str) -> Fetched:
    answer = Answer(200, {"content-type": BATCH, **headers}, body)
    return read_fetched(answer, topic="logs", partition=0, offset=offset)


def test_a_batch_that_begins_before_the_offset_is_cut() -> None:
    found = fetched(STORED, 13)
    assert [(one.offset, one.text) for one in found.messages] == [
        (offset, f"{offset}") for offset in range(13, 20)
    ]
    assert found.next_offset == 20


def test_nothing_leaves_the_offset_where_it_was() -> None:
    assert fetched(b"", 7, **{"x-high-watermark": "7"}) == Fetched([], 7, 7, -1)


def test_damage_on_the_way_is_found() -> None:
    for position in range(0, len(STORED), 7):
        damaged = bytearray(STORED)
        damaged[position] ^= 0x10
        try:
            found = fetched(bytes(damaged), 10)
        except CorruptBatch:
            continue
        assert position in (*range(8), *range(len(STORED) // 2, len(STORED) // 2 + 8))
        assert found.messages


@pytest.mark.parametrize("kind", undecodable())
def test_what_nobody_can_decode_is_stepped_over_and_counted(kind: str) -> None:
    bad = undecodable()[kind]
    count = read_header(bad).record_count
    good = encode_batch([Record("a"), Record("b")])
    body = frame_batches([(0, good), (2, bad), (2 + count, good)])
    memory = PeakMemory()
    found = fetched(body, 1)
    assert [(one.offset, one.value) for one in found.messages] == [
        (1, "b"),
        (2 + count, "a"),
        (3 + count, "b"),
    ]
    assert (found.corrupt, found.next_offset) == (count, 4 + count)
    assert memory.grown() < 50 << 20


def test_only_what_was_asked_for_counts_as_stepped_over() -> None:
    bad = crafted(rows(*[b"\x07"] * 5), record_count=5)
    found = fetched(frame_batches([(10, bad)]), 13)
    assert (found.messages, found.corrupt, found.next_offset) == ([], 2, 15)


def test_a_wrong_checksum_is_raised_and_not_stepped_over() -> None:
    good = encode_batch([Record("a")])
    with pytest.raises(CorruptBatch, match="checksum"):
        fetched(frame_batches([(0, good), (1, good[:-1] + b"\xc1")]), 0)


def test_a_batch_that_only_this_side_cannot_inflate_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = encode_batch([Record("a")], codec=CODEC_ZSTD)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(InvalidRequest, match="zstandard"):
        fetched(frame_batches([(0, packed)]), 0)


def test_what_was_well_compressed_is_decoded_in_parts() -> None:
    packed = encode_batch([Record("x" * (1 << 20))] * 7, codec=CODEC_ZSTD)
    body = frame_batches([(7 * number, packed) for number in range(50)])
    memory = PeakMemory()
    found = fetched(body, 0)
    assert found.next_offset == len(found.messages) == 28
    assert memory.grown() < 50 << 20


def test_gaps_are_what_is_between_offsets() -> None:
    assert gaps([], 3, 3) == []
    assert gaps([], 3, 5) == [range(3, 5)]
    assert gaps([3, 4], 3, 5) == []
    assert gaps([4, 6, 7], 3, 10) == [range(3, 4), range(5, 6), range(8, 10)]


def test_a_failure_is_raised() -> None:
    answer = Answer(503, {"content-type": MSGPACK}, encode_body(NoLeader("x").to_body()))
    with pytest.raises(NoLeader):
        read_fetched(answer, topic="logs", partition=0, offset=0)


def test_a_fetch_is_the_same_through_a_manager() -> None:
    call = fetch_call("logs", 0, 5, max_bytes=9, wait_ms=7)
    assert call.through_manager(Registration(7, "secret")) == call.direct(Registration(7, "secret"))
    assert call.direct(Registration(7, "secret")).accept == BATCH


def test_what_was_well_compressed_is_not_all_inflated_for_one_answer_of_several() -> None:
    packed = frame_batches([(0, encode_batch([Record("x" * (1 << 20))] * 7, codec=CODEC_ZSTD))])
    parts = [
        {
            "topic": "logs",
            "partition": partition,
            "batches": packed,
            "high_watermark": 7,
            "log_start_offset": 0,
        }
        for partition in range(20)
    ]
    answer = Answer(
        200, {"content-type": MSGPACK}, encode_body({"status": "success", "partitions": parts})
    )
    found = read_several(answer, {("logs", partition): 0 for partition in range(20)})
    assert list(found) == [("logs", partition) for partition in range(5)]
    assert all(isinstance(one, Fetched) and len(one.messages) == 7 for one in found.values())
