from __future__ import annotations

import pytest

from myqueue.contract.errors import (
    CursorMoved,
    OffsetOutOfRange,
    OutOfOrderSequence,
    ProducerFenced,
    UnknownProducer,
)
from myqueue.contract.records import Record, encode_batch
from myqueue.testing.partition import MemoryPartition


def batch(value: str, epoch: int, sequence: int) -> bytes:
    record = Record(value)
    return encode_batch([record], producer_id=7, producer_epoch=epoch, base_sequence=sequence)


def test_a_repeated_batch_is_found_again() -> None:
    partition = MemoryPartition("a")
    assert [partition.append(batch(f"{n}", 0, n)) for n in range(6)] == list(range(6))
    assert partition.append(batch("5", 0, 5)) == 5
    assert partition.append(batch("1", 0, 1)) == 1
    with pytest.raises(OutOfOrderSequence):
        partition.append(batch("0", 0, 0))
    assert len(partition.values) == 6


def test_sequences_have_no_gap_and_epochs_do_not_go_back() -> None:
    partition = MemoryPartition("a")
    with pytest.raises(UnknownProducer):
        partition.append(batch("x", 0, 1))
    partition.append(batch("x", 1, 0))
    with pytest.raises(OutOfOrderSequence):
        partition.append(batch("x", 1, 2))
    with pytest.raises(OutOfOrderSequence):
        partition.append(batch("x", 2, 1))
    with pytest.raises(ProducerFenced):
        partition.append(batch("x", 0, 0))
    assert partition.append(batch("y", 2, 0)) == 1
    partition.forget(7)
    with pytest.raises(UnknownProducer):
        partition.append(batch("x", 2, 1))


def test_a_repeated_pop_moves_nothing() -> None:
    partition = MemoryPartition("a")
    partition.put("0", "1", "2")
    assert partition.pop(1, 2, "a") == range(2)
    assert partition.pop(1, 2, "a") == range(2)
    assert partition.pop(1, 2, None) == range(2, 3)
    assert partition.pop(1, 2, "b") == range(3, 3)
    assert partition.size(1) == 0
    for number in range(20):
        partition.put("x")
        partition.pop(1, 1, f"r{number}")
    assert partition.pop(1, 1, "a") == range(23, 23)


def test_a_cursor_moves_only_from_where_it_is_expected() -> None:
    partition = MemoryPartition("a")
    partition.put("0", "1")
    partition.reset(1, 2, 0)
    with pytest.raises(CursorMoved) as caught:
        partition.reset(1, 0, 1)
    assert caught.value.details["offset"] == 2
    for offset in (-1, 3):
        with pytest.raises(OffsetOutOfRange):
            partition.reset(1, offset, None)


def test_times_lead_to_offsets() -> None:
    partition = MemoryPartition("a")
    for now_ms in (10, 30, 20):
        partition.append(encode_batch([Record("x"), Record("y")]), now_ms)
    assert [partition.offset_by_time(t) for t in (0, 10, 11, 30, 31)] == [0, 0, 2, 2, 6]


def test_batches_are_read_from_the_one_that_has_the_offset() -> None:
    partition = MemoryPartition("a")
    for _ in range(3):
        partition.put("x", "y")
    assert [base for base, _ in partition.read(3, 1)] == [2]
    assert [base for base, _ in partition.read(0, 1 << 20)] == [0, 2, 4]
    assert partition.read(6, 1) == []
