from __future__ import annotations

import os
from contextlib import suppress
from random import Random

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from myqueue.contract import records
from myqueue.contract.errors import CorruptBatch, InvalidRequest, MessageTooLarge, QueueError
from myqueue.contract.records import (
    CODEC_NONE,
    CODEC_ZSTD,
    HEADER_BYTES,
    MAX_HEADER_BYTES,
    MAX_KEY_BYTES,
    MAX_MESSAGE_BYTES,
    Record,
    decode_records,
    decode_rows,
    encode_batch,
    frame_batches,
    make_record,
    read_header,
    request_digest,
    unframe_batches,
)
from tests.batches import ONE, bomb, crafted, fuzzed, row, rows, squeezed, undecodable
from tests.peak_memory import PeakMemory

SEED = int(os.environ.get("FUZZ_SEED", "0")) or Random().randrange(1 << 32)
MIB = 1 << 20

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
CONTENTS = TEXTS | st.binary()
RECORDS = st.builds(
    Record,
    CONTENTS,
    st.none() | CONTENTS,
    st.none() | st.dictionaries(TEXTS, CONTENTS, min_size=1, max_size=3),
    st.integers(0, records.MAX_TIMESTAMP),
)


@given(
    st.lists(RECORDS, min_size=1, max_size=20),
    st.sampled_from([CODEC_NONE, CODEC_ZSTD]),
    st.sampled_from([b"", request_digest("abc")]),
)
def test_what_was_encoded_is_decoded(batch: list[Record], codec: int, digest: bytes) -> None:
    encoded = encode_batch(
        batch,
        producer_id=7,
        producer_epoch=2,
        base_sequence=9,
        codec=codec,
        request_digest=digest,
    )
    assert decode_records(encoded) == batch
    header = read_header(memoryview(encoded))
    assert header.sequenced
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (7, 2, 9)
    assert (header.record_count, header.codec) == (len(batch), codec)
    assert header.request_digest == digest
    assert header.first_timestamp == batch[0].timestamp
    assert header.last_timestamp == batch[-1].timestamp


@pytest.mark.parametrize("codec", [CODEC_NONE, CODEC_ZSTD])
@pytest.mark.parametrize("digest", [b"", request_digest("abc")])
def test_a_changed_byte_is_found_wherever_it_is(codec: int, digest: bytes) -> None:
    batch = encode_batch(
        [Record("hello", "key", {"a": b"b"}, 1)] * 3, codec=codec, request_digest=digest
    )
    for position in range(len(batch)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(batch)
            damaged[position] ^= flip
            with pytest.raises(CorruptBatch):
                read_header(bytes(damaged))


def test_a_cut_or_longer_batch_is_found() -> None:
    batch = encode_batch([Record("hello")], request_digest=request_digest("abc"))
    for length in range(len(batch)):
        with pytest.raises(CorruptBatch):
            read_header(batch[:length])
    with pytest.raises(CorruptBatch):
        read_header(batch + b"\0")


@pytest.mark.parametrize(
    "changed",
    [
        {"magic": b"QC"},
        {"version": 2},
        {"codec": 2},
        {"attributes": 2},
        {"reserved": 1},
        {"record_count": 0},
        {"record_count": 2},
        {"record_count": 10_001},
        {"payload_length": 5},
        {"inflated_length": (8 << 20) + 1},
        {"producer_id": -1},
        {"producer_epoch": -1},
        {"base_sequence": -2},
    ],
)
def test_a_wrong_header_with_a_right_checksum_is_refused(changed: dict[str, int]) -> None:
    read_header(crafted(ONE))
    with pytest.raises(CorruptBatch):
        read_header(crafted(ONE, **changed))


@pytest.mark.parametrize(
    "rows",
    [
        [[0, None, 5, None]],
        [[0, None, None, None]],
        [[0, 5, "x", None]],
        [[0, None, "x", 5]],
        [[0, None, "x", {"a": 1}]],
        [[0, None, "x", {1: "a"}]],
        [["0", None, "x", None]],
        [[0, None, "x"]],
        [5],
    ],
)
def test_records_of_other_types_are_corrupt(rows: list[object]) -> None:
    batch = crafted(msgspec.msgpack.encode(rows))
    read_header(batch)
    with pytest.raises(CorruptBatch):
        decode_records(batch)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x91\x94\x00\xc0\xa1\xff\xc0",
        b"\x91\x94\x00\xc0\xa1",
        ONE + b"\xc0",
        b"\x91",
        b"",
        b"\xdc",
        b"\xc0",
    ],
)
def test_a_payload_that_is_no_messagepack_is_corrupt(payload: bytes) -> None:
    with pytest.raises(CorruptBatch):
        decode_records(crafted(payload))


@pytest.mark.parametrize("count", [15, 16, 1_000, 10_000])
def test_the_array_count_is_checked_in_each_of_its_forms(count: int) -> None:
    payload = msgspec.msgpack.encode([[0, None, "x", None]] * count)
    assert len(decode_records(crafted(payload, record_count=count))) == count
    with pytest.raises(CorruptBatch):
        read_header(crafted(payload, record_count=count - 1))


def test_a_long_array_header_is_read_too() -> None:
    payload = b"\xdd\x00\x00\x00\x01" + ONE[1:]
    assert decode_records(crafted(payload)) == [Record("x")]


def test_a_bomb_inflates_no_further_than_it_said() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(100 << 20))
    for said in (0, 10, 8 << 20):
        with pytest.raises(CorruptBatch):
            decode_records(crafted(bomb, codec=1, inflated_length=said))
    stream = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100 << 20))
    with pytest.raises(CorruptBatch):
        decode_records(crafted(stream, codec=1, inflated_length=8 << 20))
    with pytest.raises(CorruptBatch):
        decode_records(crafted(b"no zstd", codec=1, inflated_length=10))


def test_a_compressed_batch_with_a_false_count_is_found_by_the_reader() -> None:
    payload = zstandard.ZstdCompressor().compress(ONE)
    batch = crafted(payload, codec=1, inflated_length=len(ONE), record_count=2)
    read_header(batch)
    with pytest.raises(CorruptBatch):
        decode_records(batch)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_garbage_is_never_more_than_corrupt(payload: bytes) -> None:
    for batch in (payload, crafted(payload), crafted(payload, codec=1)):
        try:
            decode_rows(batch, read_header(batch))
        except CorruptBatch:
            continue
        assert payload[:1] == b"\x91"


def test_limits_of_a_batch() -> None:
    with pytest.raises(MessageTooLarge):
        encode_batch([])
    with pytest.raises(MessageTooLarge):
        encode_batch([Record("")] * 10_001)
    with pytest.raises(MessageTooLarge):
        encode_batch([Record("x" * (1 << 20))] * 8)
    with pytest.raises(MessageTooLarge):
        encode_batch([Record("x" * (1 << 20))] * 8, codec=CODEC_ZSTD)


def test_without_the_compression_package_the_codec_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(InvalidRequest, match="zstandard"):
        encode_batch([Record("x")], codec=CODEC_ZSTD)


def test_a_missing_compression_package_is_no_fault_of_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = squeezed(ONE)
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(InvalidRequest, match="zstandard") as refused:
        decode_records(batch)
    assert not isinstance(refused.value, CorruptBatch), "readers would step over it"


@pytest.mark.parametrize("kind", undecodable())
def test_what_no_reader_can_read_is_refused_in_little_memory(kind: str) -> None:
    batch = undecodable()[kind]
    header = read_header(batch)
    memory = PeakMemory()
    with pytest.raises(CorruptBatch):
        decode_rows(batch, header)
    assert memory.grown() < 50 * MIB


def test_a_bomb_is_small_and_never_inflated() -> None:
    batch = bomb()
    assert len(batch) < 33_000
    header = read_header(batch)
    memory = PeakMemory()
    with pytest.raises(CorruptBatch, match="1073741824"):
        decode_rows(batch, header)
    assert memory.grown() < 2 * MIB


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (row(delta=b"\xa10"), "timestamp"),
        (row(delta=b"\xcf" + b"\xff" * 8), "timestamp"),
        (row(key=b"\x07"), "key"),
        (row(value=b"\x91" * 5_000), "message"),
        (row(value=b"\xa1\xff"), "message"),
        (row(headers=b"\x81\xa1k\xc0"), "headers"),
        (row(value=b"\xc6" + b"\xff" * 4), "message"),
    ],
)
def test_an_error_says_where_in_the_batch_it_is(bad: bytes, field: str) -> None:
    batch = crafted(rows(*[row(), row(value=b"\xc4\x01\xff")] * 9, bad), record_count=19)
    with pytest.raises(CorruptBatch, match="message 18 of the batch") as refused:
        decode_rows(batch, read_header(batch))
    assert refused.value.details == {"record": 18, "field": field}


def test_an_element_that_is_no_message_at_all_is_named_too() -> None:
    batch = crafted(rows(row(), b"\x93\x00\xc0\xa1x"), record_count=2)
    with pytest.raises(CorruptBatch) as refused:
        decode_rows(batch, read_header(batch))
    assert refused.value.details == {"record": 1}


def test_a_header_that_comes_twice_hides_nothing() -> None:
    twice = row(headers=b"\x82\xa1k" + b"\x91" * 400 + b"\xc0" + b"\xa1k\xa1v")
    batch = crafted(rows(row(value=b"\xc4\x01\xff"), twice), record_count=2)
    with pytest.raises(CorruptBatch) as refused:
        decode_rows(batch, read_header(batch))
    assert refused.value.details == {"record": 1, "field": "headers"}

    plain = row(headers=b"\x82\xa1k\xa1u\xa1k\xa1v")
    batch = crafted(rows(row(value=b"\xc4\x01\xff"), plain), record_count=2)
    assert decode_rows(batch, read_header(batch))[1][3] == {"k": "v"}


def test_quick_decoding_and_walking_step_by_step_agree() -> None:
    """On batches of every kind; `FUZZ_SEED` repeats a run."""
    random, outcomes = Random(SEED), {True: 0, False: 0}
    for number in range(3_000):
        batch = fuzzed(random)
        try:
            header = read_header(batch)
        except CorruptBatch:
            continue
        for is_new in (False, True):
            found: object = None
            with suppress(CorruptBatch):
                found = decode_rows(batch, header, is_new=is_new)
            outcomes[found is not None] += 1
            if header.codec != CODEC_NONE:
                continue
            walked: object = None
            with suppress(CorruptBatch):
                walked = records._Walk(batch[60:], header, is_new=is_new).rows()
            assert found == walked, (SEED, number, is_new, batch)
    assert min(outcomes.values()) > 100, (SEED, outcomes)


LIMITS = {
    "message": (MAX_MESSAGE_BYTES, Record),
    "key": (MAX_KEY_BYTES, lambda text: Record("v", text)),
    "headers": (MAX_HEADER_BYTES, lambda text: Record("v", None, {"h": text})),
    "name": (MAX_HEADER_BYTES, lambda text: Record("v", None, {text: "h"})),
}


@pytest.mark.parametrize("unit", ["x", "\u00e9", "\U0001f600", b"x"])
@pytest.mark.parametrize("place", LIMITS)
@pytest.mark.parametrize("other", ["text", b"bytes"])
def test_a_leader_takes_what_a_message_may_be_and_readers_read_more(
    place: str, unit: str | bytes, other: str | bytes
) -> None:
    limit, made_of = LIMITS[place]
    if place == "name" and isinstance(unit, bytes):
        return
    width = len(unit if isinstance(unit, bytes) else unit.encode())
    largest, beyond = made_of(unit * (limit // width)), made_of(unit * (limit // width + 1))
    for record in (largest, beyond):
        batch = encode_batch([Record(other), record])
        assert decode_records(batch) == [Record(other), record]
    batch = encode_batch([Record(other), largest])
    assert len(decode_rows(batch, read_header(batch), is_new=True)) == 2
    assert make_record(*largest[:3], timestamp=0) == largest
    batch = encode_batch([Record(other), beyond])
    field = "headers" if place == "name" else place
    with pytest.raises(CorruptBatch, match=f"at most {limit} are allowed") as refused:
        decode_rows(batch, read_header(batch), is_new=True)
    assert refused.value.details == {"record": 1, "field": field}
    with pytest.raises(MessageTooLarge):
        make_record(*beyond[:3], timestamp=0)


@pytest.mark.parametrize("first", [0, 5])
def test_a_leader_takes_no_time_before_1970_and_readers_read_it(first: int) -> None:
    for timestamp in (0, -1):
        records = [Record("a", timestamp=first), Record("b", timestamp=timestamp)]
        batch = encode_batch(records)
        assert decode_records(batch) == records
        if timestamp >= 0:
            assert len(decode_rows(batch, read_header(batch), is_new=True)) == 2
            continue
        with pytest.raises(CorruptBatch, match="out of range") as refused:
            decode_rows(batch, read_header(batch), is_new=True)
        assert refused.value.details == {"record": 1, "field": "timestamp"}


@given(st.lists(st.tuples(st.integers(0, 2**63), st.binary(max_size=50)), max_size=5))
def test_frames_come_apart_as_they_were_joined(batches: list[tuple[int, bytes]]) -> None:
    framed = frame_batches(batches)
    assert [(offset, bytes(batch)) for offset, batch in unframe_batches(framed)] == batches
    for length in range(len(framed)):
        whole = [12 + len(batch) for _, batch in batches]
        if length in {sum(whole[:count]) for count in range(len(whole))}:
            continue
        with pytest.raises(CorruptBatch):
            list(unframe_batches(framed[:length]))


@pytest.mark.parametrize(
    ("value", "key", "headers", "timestamp"),
    [
        (5, None, None, 0),
        (None, None, None, 0),
        ("x", 5, None, 0),
        ("x", None, [], 0),
        ("x", None, {1: "a"}, 0),
        ("x", None, {"a": 1}, 0),
        ("\ud800", None, None, 0),
        ("x", "\udfff", None, 0),
        ("x", None, None, -1),
        ("x", None, None, 1 << 62),
        ("x" * ((1 << 20) + 1), None, None, 0),
        ("\N{PILE OF POO}" * ((1 << 18) + 1), None, None, 0),
        ("x", "k" * 8_193, None, 0),
        ("x", None, {str(n): "" for n in range(65)}, 0),
        ("x", None, {"h": b"x" * 8_193}, 0),
    ],
)
def test_a_message_outside_the_limits_is_refused(
    value: object, key: object, headers: object, timestamp: int
) -> None:
    with pytest.raises((InvalidRequest, MessageTooLarge)) as caught:
        make_record(value, key, headers, timestamp=timestamp)
    assert caught.value.details["field"] in ("message", "key", "headers", "timestamp")


def test_a_message_at_the_limits_is_taken() -> None:
    for value in ("x" * (1 << 20), "\N{PILE OF POO}" * (1 << 18), b"x" * (1 << 20), "", b""):
        assert make_record(value, "k" * 8_192, {}, timestamp=0).value == value
    assert make_record("x", None, {}, timestamp=5) == Record("x", None, None, 5)


def test_header_is_sixty_bytes() -> None:
    assert HEADER_BYTES == 60
    assert issubclass(CorruptBatch, QueueError)
    assert len(request_digest("x")) == 16
