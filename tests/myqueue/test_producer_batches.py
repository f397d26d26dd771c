"""Many messages in one call."""

from __future__ import annotations

import pytest

from myqueue.config import ClientConfig
from myqueue.errors import (
    DeliveryTimeout,
    InvalidRequest,
    MessageTooLarge,
    NoLeader,
)
from myqueue.records import Record
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


def test_records_of_one_key_stay_together(world: World) -> None:
    world.twin.create("logs", 3)
    records = [Record(f"{n}", key=f"k{n % 2}", headers={"n": f"{n}"}) for n in range(10)]
    world.producer().produce_many("logs", records)
    for partition in world.twin.topics["logs"]:
        for key in ("k0", "k1"):
            numbers = [int(one.value) for one in partition.records if one.key == key]
            assert len(numbers) in (0, 5)
            assert numbers == sorted(numbers)


def test_too_many_messages_are_no_batch(world: World) -> None:
    producer = world.producer()
    with pytest.raises(MessageTooLarge):
        producer.produce_many("logs", ["x"] * 10_001, partition=0)
    with pytest.raises(MessageTooLarge):
        producer.produce_many("logs", ["x" * 1_000_000] * 9, partition=0)
    with pytest.raises(InvalidRequest):
        producer.produce_many("logs", [])
    assert producer.enqueue("logs", "x", partition=0) == (0, 0)


def test_what_was_delivered_before_a_failure_is_told(world: World) -> None:
    world.twin.create("logs", 2)
    producer = world.producer(config=PATIENT)
    world.twin.fail(PRODUCE, NoLeader(), times=1_000, at=world.twin.brokers[1])
    world.twin.fail(PRODUCE, NoLeader(), times=1_000, at=world.twin.manager)
    with pytest.raises(DeliveryTimeout) as caught:
        producer.produce_many("logs", ["a", "b"])
    assert [batch.partition for batch in caught.value.details["delivered"]] == [0]
