"""Many messages in one call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import (
    ClientClosed,
    DeliveryTimeout,
    InvalidRequest,
    NoLeader,
)
from myqueue.contract.partitioner import partition_for_key
from myqueue.contract.records import Record
from tests.myqueue.conftest import World

PRODUCE = "/producer/produce"
PATIENT = ClientConfig(delivery_timeout_ms=2_000)


def test_many_messages_are_one_batch_per_partition(world: World) -> None:
    world.twin.create("logs", 3)
    batches = world.producer().produce_many("logs", [f"{n}" for n in range(10)])
    assert [(batch.partition, batch.message_count) for batch in batches] == [(0, 4), (1, 3), (2, 3)]
    assert world.twin.topics["logs"][0].values == ["0", "3", "6", "9"]
    assert len(world.twin.asked(PRODUCE)) == 3
    assert list(batches[0].offsets) == [0, 1, 2, 3]


def test_messages_of_several_calls_take_turns_as_if_they_came_one_by_one(world: World) -> None:
    world.twin.create("logs", 3)
    producer = world.producer()
    producer.produce_many("logs", ["0", "1"])
    producer.produce_many("logs", [Record("2"), Record("3", headers={"a": "b"})])
    producer.enqueue("logs", "4")
    producer.produce_many("logs", ["5"])
    assert [one.values for one in world.twin.topics["logs"]] == [["0", "3"], ["1", "4"], ["2", "5"]]


def test_a_message_with_a_key_among_others_goes_where_its_key_says(world: World) -> None:
    world.twin.create("logs", 4)
    keyed = Record("k", key="user 17")
    world.producer().produce_many("logs", ["0", keyed, "1", "2"])
    index = partition_for_key("user 17", 4)
    assert "k" in world.twin.topics["logs"][index].values
    others = [[v for v in one.values if v != "k"] for one in world.twin.topics["logs"]]
    assert others == [["0"], ["1"], ["2"], []]


def test_records_of_one_key_stay_together(world: World) -> None:
    world.twin.create("logs", 3)
    records = [Record(f"{n}", key=f"k{n % 2}", headers={"n": f"{n}"}) for n in range(10)]
    world.producer().produce_many("logs", records)
    for partition in world.twin.topics["logs"]:
        for key in ("k0", "k1"):
            numbers = [int(one.value) for one in partition.records if one.key == key]
            assert len(numbers) in (0, 5)
            assert numbers == sorted(numbers)


def test_a_call_holds_no_more_than_the_buffer(world: World) -> None:
    world.twin.create("logs", 2)
    taken = 0
    held_most = 0

    def messages() -> Iterator[bytes]:
        nonlocal taken, held_most
        for number in range(60):
            taken += 1
            stored = sum(len(one.records) for one in world.twin.topics["logs"])
            held_most = max(held_most, taken - stored)
            yield bytes([number]) * 1_000_000

    config = ClientConfig(buffer_bytes=4_000_000, max_block_ms=1)
    batches = world.producer(config=config).produce_many("logs", messages())
    assert sum(batch.message_count for batch in batches) == 60
    for index, partition in enumerate(world.twin.topics["logs"]):
        assert [value[0] for value in partition.values] == list(range(index, 60, 2))
    assert held_most < 20


def test_a_wrong_message_says_what_was_delivered_before_it(world: World) -> None:
    world.twin.create("logs", 1)
    messages: list[Any] = ["x"] * 30_000 + [{"a": 1}]
    with pytest.raises(InvalidRequest, match="not dict") as caught:
        world.producer().produce_many("logs", messages)
    delivered = caught.value.details["delivered"]
    assert [batch.message_count for batch in delivered] == [10_000, 10_000]
    assert len(world.twin.topics["logs"][0].records) == 20_000


def test_after_a_failure_no_further_message_is_taken(world: World) -> None:
    world.twin.create("logs", 1)
    world.twin.fail(PRODUCE, InvalidRequest("refused"), times=1_000)
    taken = 0

    def messages() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1_000):
            taken += 1
            yield b"x" * 1_000_000

    config = ClientConfig(buffer_bytes=16_000_000)
    with pytest.raises(InvalidRequest, match="refused"):
        world.producer(config=config).produce_many("logs", messages())
    assert taken < 100


def test_what_an_iterable_raises_is_raised(world: World) -> None:
    def messages() -> Iterator[str]:
        yield "x"
        raise LookupError("no more")

    producer = world.producer()
    with pytest.raises(LookupError):
        producer.produce_many("logs", messages())
    assert producer.produce_many("logs", []) == []
    producer.close()
    with pytest.raises(ClientClosed):
        producer.produce_many("logs", [])


def test_what_was_delivered_before_a_failure_is_told(world: World) -> None:
    world.twin.create("logs", 2)
    producer = world.producer(config=PATIENT)
    world.twin.fail(PRODUCE, NoLeader(), times=1_000, at=world.twin.brokers[1])
    world.twin.fail(PRODUCE, NoLeader(), times=1_000, at=world.twin.manager)
    with pytest.raises(DeliveryTimeout) as caught:
        producer.produce_many("logs", ["a", "b"])
    assert [batch.partition for batch in caught.value.details["delivered"]] == [0]
