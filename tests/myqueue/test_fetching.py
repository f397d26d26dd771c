from __future__ import annotations

import pytest

from myqueue.errors import CorruptBatch, NoLeader
from myqueue.fetching import fetch_call, read_fetched
from myqueue.http1 import Answer
from myqueue.protocol import BATCH, MSGPACK
from myqueue.records import Record, encode_batch, frame_batches
from myqueue.results import Fetched, Registration
from myqueue.transport import encode_body

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


def test_a_failure_is_raised() -> None:
    answer = Answer(503, {"content-type": MSGPACK}, encode_body(NoLeader("x").to_body()))
    with pytest.raises(NoLeader):
        read_fetched(answer, topic="logs", partition=0, offset=0)


def test_a_fetch_is_the_same_through_a_manager() -> None:
    call = fetch_call("logs", 0, 5, max_bytes=9, wait_ms=7)
    assert call.through_manager(Registration(7, "secret")) == call.direct(Registration(7, "secret"))
    assert call.direct(Registration(7, "secret")).accept == BATCH
