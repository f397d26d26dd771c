from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.records import MAX_BATCH_BYTES, MAX_RECORDS, Record, encode_batch
from myqueue.producer.futures import DeliveryFuture
from myqueue.producer.produce_call import records_of_items
from myqueue.producer.splitting import CallBatches, Splitting, portions
from myqueue.results import DeliveredBatch

LARGE = "x" * 1_000_000


def split(values: list[str], *, held_bytes_max: int = 1 << 40) -> list[list[str]]:
    """Return the values of one partition batch by batch, taken as `produce_many` takes them."""
    parts = Splitting(held_bytes_max=held_bytes_max)
    groups = []
    for portion in portions(values):
        parts.add(0, records_of_items(portion, now_ms=1))
        groups += parts.full()
    return [[str(one.value) for one in group.records] for group in [*groups, *parts.rest()]]


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "x", "y" * 300_000, LARGE]), st.integers(1, 6_000)),
        max_size=4,
    )
)
def test_every_batch_can_be_encoded_and_nothing_is_lost_or_moved(
    runs: list[tuple[str, int]],
) -> None:
    values = [value for value, count in runs for _ in range(count if len(value) < 2 else 5)]
    batches = split(values)
    assert [value for batch in batches for value in batch] == values
    for batch in batches:
        assert 1 <= len(batch) <= MAX_RECORDS
        records = [Record(value, None, None, 1) for value in batch]
        assert len(encode_batch(records)) <= MAX_BATCH_BYTES
    for batch, following in pairwise(batches):
        full = len(batch) == MAX_RECORDS
        assert full or sum(map(len, batch)) + len(following[0]) > MAX_BATCH_BYTES - 64 * 10_001


def test_partitions_fill_their_batches_side_by_side() -> None:
    parts = Splitting(held_bytes_max=1 << 30)
    for number in range(0, 30_000, 1_000):
        for partition in (1, 0):
            parts.add(partition, [Record(f"{n}") for n in range(number, number + 500)])
    assert [group.partition for group in parts.full()] == [1, 0]
    assert [(group.partition, len(group.records)) for group in parts.rest()] == [
        (0, 5_000),
        (1, 5_000),
    ]
    assert parts.rest() == []


def test_what_waits_is_bounded() -> None:
    parts = Splitting(held_bytes_max=2_500_000)
    for partition in range(3):
        assert parts.full() == []
        parts.add(partition, [Record(LARGE)])
    assert [group.partition for group in parts.full()] == [0, 1, 2]
    assert parts.rest() == []


def test_portions_are_bounded_in_count_and_bytes() -> None:
    assert [len(one) for one in portions(iter(["x"] * 25_000))] == [10_000, 10_000, 5_000]
    assert [len(one) for one in portions([Record(LARGE)] * 20)] == [9, 9, 2]
    assert list(portions([])) == []


@pytest.mark.parametrize("made", [list, tuple, iter])
def test_portions_hold_every_message_in_order_however_they_come(made) -> None:
    plain = [str(number) for number in range(25_001)]
    mixed = [*plain[:3], b"b", Record("c"), *plain[3:]]
    large = ["x" * (1 << 20)] * 20
    for messages in (plain, mixed, large):
        found = list(portions(made(messages)))
        assert [one for portion in found for one in portion] == messages
        for portion in found:
            assert len(portion) <= MAX_RECORDS
            assert sum(len(one) for one in portion[:-1] if isinstance(one, str)) < MAX_BATCH_BYTES


def test_portions_leave_the_list_that_was_given_alone() -> None:
    messages = ["a", "b"]
    next(portions(messages)).append("c")
    assert messages == ["a", "b"]


@pytest.mark.parametrize("wrong", ["text", b"x", bytearray(), Record("x"), {"a": 1}, 5, None])
def test_a_single_message_is_no_list_of_messages(wrong: Any) -> None:
    with pytest.raises(InvalidRequest, match="enqueue and send take a single one") as caught:
        next(portions(wrong))
    assert caught.value.details["field"] == "messages"


def test_more_goes_out_when_what_is_out_is_settled() -> None:
    out = CallBatches(100)
    assert out.to_wait_for(1_000) is None
    first, second = (SimpleNamespace(whole=DeliveryFuture(), size_bytes=60) for _ in range(2))
    out.add([first, second])  # type: ignore[list-item]
    assert out.to_wait_for(0) is first.whole
    first.whole.settle(DeliveredBatch(0, 0, 1))
    assert out.to_wait_for(41) is second.whole
    assert out.to_wait_for(40) is None
    assert not out.has_failed
    second.whole.fail(InvalidRequest("x"))
    assert out.to_wait_for(1_000) is None
    assert out.has_failed
    assert out.futures == [first.whole, second.whole]
