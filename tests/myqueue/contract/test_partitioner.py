from __future__ import annotations

from collections import Counter
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.partitioner import RoundRobin, partition_for_key

COUNTS = st.integers(1, 1_024)


@given(st.integers(), COUNTS)
def test_an_integer_is_taken_modulo(key: int, count: int) -> None:
    assert partition_for_key(key, count) == key % count


@given(st.text(st.characters(exclude_categories=["Cs"])), COUNTS)
def test_a_text_is_hashed_as_its_bytes(key: str, count: int) -> None:
    expected = crc32(key.encode()) % count
    assert partition_for_key(key, count) == partition_for_key(key.encode(), count) == expected


@pytest.mark.parametrize(("key", "partition"), [("", 0), ("123456789", 0xCBF43926 % 1_000)])
def test_the_hash_is_that_of_the_standard(key: str, partition: int) -> None:
    assert partition_for_key(key, 1_000) == partition


@pytest.mark.parametrize("key", [None, 1.5, True, [], "\ud800"])
def test_other_keys_are_refused(key: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        partition_for_key(key, 3)  # type: ignore[arg-type]
    assert caught.value.details["field"] == "partition_key"


def test_a_hundred_turns_over_four_partitions_are_twenty_five_each() -> None:
    turns = RoundRobin(start=2)
    assert Counter(turns.next(4) for _ in range(100)) == dict.fromkeys(range(4), 25)


@given(st.lists(st.tuples(st.integers(1, 10), COUNTS), min_size=1))
def test_many_turns_at_once_are_those_taken_one_by_one(takes: list[tuple[int, int]]) -> None:
    together, apart = RoundRobin(), RoundRobin()
    for many, count in takes:
        first, *_ = [apart.next(count) for _ in range(many)]
        assert together.first_of(many, count) == first


@given(st.lists(COUNTS, min_size=1))
def test_turns_stay_in_range_when_the_number_of_partitions_changes(counts: list[int]) -> None:
    turns = RoundRobin()
    for count in counts:
        assert 0 <= turns.next(count) < count
