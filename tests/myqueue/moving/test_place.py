from __future__ import annotations

import time

import pytest

from myqueue import Client, Consumer, IllegalGeneration, OffsetOutOfRange, Producer
from myqueue.moving import place as place_module
from myqueue.moving.place import Place
from myqueue.testing.queue import InMemoryQueue


def filled(queue: InMemoryQueue, count: int) -> None:
    with Producer("orders", queue.address) as producer:
        for number in range(count):
            producer.enqueue("orders", str(number))


def test_a_range_is_read_and_no_more() -> None:
    with InMemoryQueue(["orders"]) as queue:
        filled(queue, 10)
        place = Place("orders", queue.address)
        assert place.range_of("orders", 0) == (0, 10)
        read = [one.text for found, _ in place.between("orders", 0, 3, 7) for one in found]
        assert read == ["3", "4", "5", "6"]
        assert list(place.between("orders", 0, 7, 7)) == []


def test_a_time_is_an_offset() -> None:
    with InMemoryQueue(["orders"]) as queue:
        filled(queue, 3)
        place = Place("orders", queue.address)
        later = int(time.time() * 1000) + 60_000
        assert [place.offset_at("orders", 0, one) for one in (0, later)] == [0, 3]


def test_an_end_that_is_lost_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place_module, "LAGGING_S", 0.0)
    monkeypatch.setattr(place_module, "WAIT_S", 0.001)
    with InMemoryQueue(["orders"]) as queue:
        filled(queue, 3)
        place = Place("orders", queue.address)
        read = [one.text for found, _ in place.between("orders", 0, 2, 9) for one in found]
        assert read == ["2"]
        with pytest.raises(OffsetOutOfRange):
            list(place.between("orders", 0, 5, 9))


@pytest.mark.parametrize("kind", ["consumers", "workers"])
def test_a_group_begins_where_it_is_told(kind: str) -> None:
    with InMemoryQueue(["orders"]) as queue:
        filled(queue, 10)
        place = Place("orders", queue.address)
        place.commit_group("billing", kind, ("orders", 0), 4)  # type: ignore[arg-type]
        assert Client(queue.address).describe_group("billing").partitions[0].offset == 4
        if kind == "consumers":
            with Consumer("orders", queue.address, group="billing") as consumer:
                assert consumer.poll(1, 5.0)[0].text == "4"


def test_a_group_that_somebody_reads_in_is_left_alone() -> None:
    with InMemoryQueue(["orders"]) as queue:
        filled(queue, 10)
        for _ in range(2):
            with Consumer("orders", queue.address, group="billing") as consumer:
                consumer.poll(1, 5.0)
        with pytest.raises(IllegalGeneration):
            Place("orders", queue.address).commit_group("billing", "consumers", ("orders", 0), 4)
