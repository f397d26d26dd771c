from __future__ import annotations

import pytest

from myqueue.contract.records import Record
from myqueue.producer.futures import DeliveryFuture
from myqueue.producer.lanes import BATCHES_IN_FLIGHT_MAX, Batch, Lane
from myqueue.results import Delivered, DeliveredBatch


def lane(batch_messages: int = 1) -> Lane:
    return Lane(
        ("logs", 0),
        batch_messages=batch_messages,
        batch_bytes=1_000,
        now_s=lambda: 0.0,
        patience_s=1.0,
    )


def filled(count: int) -> tuple[Lane, list[Batch]]:
    """Return a lane with so many batches of one message out."""
    made = lane()
    for number in range(count):
        put(made, f"{number}")
    return made, [made.take(7) for _ in range(count)]


def put(made: Lane, value: str) -> DeliveryFuture[Delivered]:
    future: DeliveryFuture[Delivered] = DeliveryFuture()
    made.put(Record(value), future, 10)
    return future


def stamps(batches: list[Batch]) -> list[tuple[int, int]]:
    return [batch.stamp[1:] for batch in batches]


def test_five_batches_are_out_at_most() -> None:
    made, out = filled(BATCHES_IN_FLIGHT_MAX)
    put(made, "more")
    assert not made.may_send
    assert stamps(out) == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]
    made.acknowledged(out[1])
    assert not made.may_send, "the oldest must stay among those the partition remembers"
    made.acknowledged(out[0])
    assert made.may_send


def test_a_batch_that_certainly_did_not_happen_gives_its_stamp_back() -> None:
    made, out = filled(2)
    made.failed(out[1], stamp_spent=False)
    put(made, "next")
    assert made.take(7).stamp == (7, 0, 1)


def test_those_behind_a_failed_batch_are_stamped_anew_in_order() -> None:
    made, out = filled(4)
    put(made, "later")
    made.failed(out[0], stamp_spent=True)
    made.refused(out[2])
    made.refused(out[1])
    assert not made.may_send, "the fate of one is open"
    made.acknowledged(out[3])
    again = [made.take(7) for _ in range(3)]
    assert [str(batch.records[0].value) for batch in again] == ["1", "2", "later"]
    assert stamps(again) == [(1, 0), (1, 1), (1, 2)]
    assert made.held == again


def test_a_gap_that_certainly_is_one_restarts_too() -> None:
    made, out = filled(2)
    made.failed(out[0], stamp_spent=False)
    made.refused(out[1])
    assert made.take(7).stamp == (7, 1, 0)


def test_only_the_oldest_has_none_before_it() -> None:
    made, out = filled(3)
    assert [made.has_open_before(batch) for batch in out] == [False, True, True]
    made.acknowledged(out[0])
    assert not made.has_open_before(out[1])


def test_a_whole_batch_is_not_joined_with_others() -> None:
    made = lane(batch_messages=10)
    put(made, "a")
    whole: DeliveryFuture[DeliveredBatch] = DeliveryFuture()
    made.put_whole(
        Batch(("logs", 0), deadline_s=1.0, records=[Record("b"), Record("c")], whole=whole)
    )
    put(made, "d")
    batches = []
    while made.may_send:
        batches.append(made.take(7))
    assert [len(batch.records) for batch in batches] == [1, 2]
    batches[1].acknowledge(5)
    assert whole.result(0) == DeliveredBatch(0, 5, 2)


def test_futures_are_told_offsets_or_the_failure() -> None:
    made = lane(batch_messages=10)
    futures = [put(made, value) for value in "ab"]
    made.take(7).acknowledge(3)
    assert [future.result(0) for future in futures] == [Delivered(0, 3), Delivered(0, 4)]
    failed = put(made, "c")
    made.give_up()[0].fail(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        failed.result(0)


def test_nothing_is_taken_from_an_idle_lane() -> None:
    made = lane()
    assert made.is_idle
    with pytest.raises(AssertionError):
        made.take(7)
