from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from myqueue.contract.errors import ClientClosed, TopicDoesNotExist
from myqueue.older import MyConsumer, MyProducer, with_place
from myqueue.results import Message
from tests.myqueue.http_twin import HttpCluster


@pytest.fixture
def producer(http_cluster: HttpCluster) -> Iterator[MyProducer]:
    producer = MyProducer(topics=["a", "b"], broker=http_cluster.address)
    yield producer
    producer.stop()


def test_what_is_sent_is_what_comes_next(http_cluster: HttpCluster, producer: MyProducer) -> None:
    for number in range(6):
        assert producer.can_send()
        producer.send("ab"[number % 2], f"{number}")
    consumer = MyConsumer(topics=["a", "b"], broker=http_cluster.address)
    found = []
    for message in consumer.get_next():
        found.append(message)
        if len(found) == 6:
            consumer.stop()
    assert sorted(found) == list("012345")
    assert {(message.topic, message.partition, message.offset) for message in found} == {
        (topic, partition, 0) for topic in "ab" for partition in range(3)
    }


def test_a_stopped_producer_cannot_send(producer: MyProducer) -> None:
    producer.stop()
    assert not producer.can_send()
    with pytest.raises(ClientClosed):
        producer.send("a", "x")


def test_a_stopped_consumer_yields_nothing(http_cluster: HttpCluster, producer: MyProducer) -> None:
    consumer = MyConsumer(topics=["a"], broker=http_cluster.address)
    consumer.stop()
    assert list(consumer.get_next()) == []
    with pytest.raises(TopicDoesNotExist):
        MyConsumer(topics=["nothing"], broker=http_cluster.address)


@pytest.mark.parametrize("value", ["a text", "", b"bytes \xff"])
def test_a_message_is_its_value_and_says_where_it_was_stored(value: str | bytes) -> None:
    message = Message("logs", 2, 7, value, "key", {"h": "x"}, 5)
    made = with_place(message)
    assert made == value
    assert (str(made), repr(made), hash(made)) == (str(value), repr(value), hash(value))
    assert (made.topic, made.partition, made.offset, made.key) == ("logs", 2, 7, "key")
    assert (made.headers, made.timestamp) == ({"h": "x"}, 5)
    assert type(made.value) is type(value)
    copied = copy.deepcopy(made)
    assert (copied, copied.topic) == (value, "logs")
