from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from myqueue import AsyncProducer, Client, Consumer, Producer, Record
from myqueue.contract.errors import InvalidRequest, ManagerNotFound, TopicDoesNotExist
from myqueue.producer.options import serialized, serializer_of, to_json
from myqueue.testing.queue import InMemoryQueue
from tests.myqueue.conftest import World


@dataclass
class Order:
    number: int
    goods: list[str]


def backwards(value: str) -> str:
    return value[::-1]


def test_values_become_json_or_msgpack_or_what_a_function_makes() -> None:
    order = Order(1, ["apples"])
    with InMemoryQueue() as queue, Consumer("t", queue.address, create=True) as consumer:
        for serializer in ("json", "msgpack", backwards):
            with Producer("t", queue.address, serializer=serializer) as producer:  # type: ignore[arg-type]
                value: Any = "abc" if serializer is backwards else order
                producer.enqueue("t", value, partition=0)
                producer.send("t", value, partition=0)
                producer.produce_many("t", [value, Record(value, "key")], partition=0)
        found = consumer.poll(partition=0)
    assert [one.value for one in found[:4]] == ['{"number":1,"goods":["apples"]}'] * 4
    assert [one.json(Order) for one in found[:4]] == [order] * 4
    assert found[0].json() == {"number": 1, "goods": ["apples"]}
    assert [one.msgpack(Order) for one in found[4:8]] == [order] * 4
    assert [one.value for one in found[8:]] == ["cba"] * 4
    assert [one.key for one in found] == [None, None, None, "key"] * 3


def test_a_text_is_json_too_and_a_list_of_any_length_is_serialized_as_it_is_sent() -> None:
    values = ({"n": number} for number in range(25_000))

    with InMemoryQueue() as queue, Producer("t", queue.address, serializer="json") as producer:
        producer.enqueue("t", "a text", partition=1)
        assert [one.value for one in queue.messages("t")] == ['"a text"']
        batches = producer.produce_many("t", values, partition=0)
        assert [one.message_count for one in batches] == [10_000, 10_000, 5_000]
        assert queue.messages("t")[24_999].json() == {"n": 24_999}
    assert to_json({"a": None}) == '{"a":null}'
    assert list(serialized([Record("x", "k")], to_json)) == [Record('"x"', "k")]


def test_without_a_serializer_the_refusal_says_what_helps() -> None:
    with InMemoryQueue() as queue, Producer("t", queue.address) as producer:
        with pytest.raises(InvalidRequest, match=r"json\.dumps"):
            producer.enqueue("t", {"a": 1})
        with pytest.raises(InvalidRequest, match="json, msgpack or a function, not 'yaml'"):
            Producer("t", queue.address, serializer="yaml")  # type: ignore[arg-type]
    assert serializer_of(None) is None


def test_a_missing_topic_is_treated_as_create_says_by_producers_and_consumers() -> None:
    with InMemoryQueue() as queue, Client(queue.address) as client:
        for kind in (Producer, Consumer):
            with pytest.raises(TopicDoesNotExist):
                kind("missing", queue.address, create=False)
            with pytest.raises(InvalidRequest, match="create"):
                kind("missing", queue.address, create="no")  # type: ignore[arg-type]
        assert client.list_topics() == []
        Consumer(["one", "two"], queue.address, create=True).close()
        Producer("three", queue.address, create=True).close()
        assert client.list_topics() == ["one", "two", "three"]


def test_a_lazy_producer_starts_before_its_cluster(world: World) -> None:
    options: Any = {"transport": world.transport, "clock": world.clock}
    world.twin.down = {world.twin.manager}
    with pytest.raises(ManagerNotFound):
        Producer("t", world.twin.manager, **options)
    producer = Producer("t", world.twin.manager, connect="lazy", **options)
    assert producer.topics == ("t",)
    for call in (producer.enqueue, producer.send):
        with pytest.raises(ManagerNotFound):
            call("t", "too early")
    world.twin.down = set()
    assert producer.enqueue("t", "x").offset == 0
    producer.close()
    assert world.twin.messages("t") == ["x"]
    with pytest.raises(InvalidRequest, match="connect"):
        Producer("t", world.twin.manager, connect="never", **options)


async def test_in_an_event_loop_it_starts_before_its_cluster_too() -> None:
    with InMemoryQueue() as queue:
        async with AsyncProducer("t", queue.address, connect="lazy", serializer="json") as producer:
            assert producer.registrations["t"].client_id == 0
            await producer.enqueue("t", {"a": 1})
        assert [one.json() for one in queue.messages("t")] == [{"a": 1}]
