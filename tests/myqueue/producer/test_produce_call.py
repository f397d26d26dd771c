from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myqueue.contract.errors import InvalidRequest, MessageTooLarge
from myqueue.contract.records import Record, encode_batch, make_record, read_header
from myqueue.producer.accumulator import size_bytes_of, total_bytes_of
from myqueue.producer.produce_call import Target, produce_call, records_of_items
from myqueue.producer.sequences import Stamp
from myqueue.results import Registration

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
RECORDS = st.builds(Record, TEXTS, TEXTS, st.none(), st.integers(0, 9))
ME = Registration(7, "secret")


@given(
    st.lists(TEXTS, min_size=1)
    | st.lists(st.binary(), min_size=1)
    | st.lists(
        TEXTS | st.binary() | st.builds(Record, TEXTS, TEXTS, st.none(), st.integers(0, 9)),
        min_size=1,
    )
)
def test_the_quick_way_gives_what_the_slow_one_does(items: list[str | bytes | Record]) -> None:
    slow = [
        make_record(item.value, item.key, None, timestamp=item.timestamp or 5)
        if isinstance(item, Record)
        else make_record(item, None, None, timestamp=5)
        for item in items
    ]
    found = records_of_items(items, now_ms=5)
    assert list(found) == slow
    assert encode_batch(found) == encode_batch(slow)
    assert total_bytes_of(found) == sum(map(size_bytes_of, slow))
    assert list(found[1::2]) == slow[1::2]


@pytest.mark.parametrize("wrong", [5, None, "\ud800", ["x"], Record("x", "\ud800")])
def test_one_wrong_item_is_found_among_good_ones(wrong: object) -> None:
    with pytest.raises(InvalidRequest):
        records_of_items(["x", wrong, "y"], now_ms=0)  # type: ignore[list-item]
    with pytest.raises(InvalidRequest):
        records_of_items([wrong], now_ms=0)  # type: ignore[list-item]


@pytest.mark.parametrize("large", ["x" * (1 << 20) + "x", b"x" * (1 << 20) + b"x"])
def test_one_large_item_is_found_among_small_ones(large: str | bytes) -> None:
    with pytest.raises(MessageTooLarge):
        records_of_items([large[:1], large], now_ms=0)
    assert records_of_items([large[1:]], now_ms=0)[0].value == large[1:]


def test_every_try_sends_the_same_bytes() -> None:
    call = produce_call(Target("logs", 2, Stamp(7, 3, 11)), [Record("a")] * 2, timeout_ms=500)
    first, second = call.direct(ME), call.direct(Registration(7, "renewed"))
    assert first.body is second.body
    assert (first.token, second.token) == ("secret", "renewed")
    header = read_header(first.body)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (7, 3, 11)


def test_a_manager_gets_the_same_stamp() -> None:
    records = [Record("a", timestamp=9), Record(b"b", "k", {"h": "v"}, 9)]
    call = produce_call(Target("logs", 2, Stamp(7, 3, 11)), records, timeout_ms=500)
    assert call.through_manager is not None
    assert msgspec.msgpack.decode(call.through_manager(ME).body) == {
        "topic": "logs",
        "partition": 2,
        "producer_id": 7,
        "token": "secret",
        "messages": ["a", {"message": b"b", "key": "k", "headers": {"h": "v"}}],
        "timestamp": 9,
        "producer_epoch": 3,
        "base_sequence": 11,
        "timeout_ms": 500,
    }
