from __future__ import annotations

from collections.abc import Iterator

import pytest

from myqueue.errors import ClientClosed, TopicDoesNotExist
from myqueue.older import MyConsumer, MyProducer
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
    assert sorted(map(str, found)) == list("012345")


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
