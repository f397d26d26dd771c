from __future__ import annotations

import threading

import pytest

from myqueue import Client, Consumer, Producer
from myqueue.contract.errors import BrokerUnreachable, ManagerNotFound
from myqueue.testing.queue import InMemoryQueue, queue_at


def test_a_program_only_gets_another_address() -> None:
    with InMemoryQueue({"logs": 2}) as queue:
        with Producer("logs", queue.address) as producer:
            producer.enqueue("logs", "hello", key="k", partition=1)
        (message,) = queue.messages("logs")
        assert (message.partition, message.offset, message.key) == (1, 0, "k")
        assert queue.values("logs") == ["hello"]
        with Consumer("logs", queue.address) as consumer:
            assert consumer.dequeue("logs") == "hello"


def test_topics_come_as_names_or_with_partitions() -> None:
    with InMemoryQueue(["a", "b"]) as queue, Client(queue.address) as client:
        assert client.list_topics() == ["a", "b"]
        queue.create_topic("c", 3)
        assert len(client.describe_topic("c")["partitions"]) == 3
        assert len(client.update_topic("a", number_of_partitions=2)["partitions"]) == 2
        queue.clear()
        assert client.list_topics() == []
        with pytest.raises(KeyError):
            queue.messages("a")


def test_queues_do_not_know_each_other() -> None:
    with InMemoryQueue(["a"]) as one, InMemoryQueue(["a"]) as other:
        assert one.address != other.address
        with Producer("a", one.address) as producer:
            producer.enqueue("a", "x")
        assert other.values("a") == []


def test_a_closed_queue_is_out_of_reach() -> None:
    queue = InMemoryQueue(["a"])
    client = Client(queue.address)
    queue.close()
    with pytest.raises(ManagerNotFound):
        client.list_topics()
    with pytest.raises(BrokerUnreachable):
        queue_at(queue.address)


def test_a_message_ends_the_wait_of_another_thread() -> None:
    with (
        InMemoryQueue({"logs": 3}) as queue,
        Producer("logs", queue.address) as producer,
        Consumer("logs", queue.address) as consumer,
    ):
        assert consumer.poll() == []
        timer = threading.Timer(0.02, producer.enqueue, ["logs", "late"])
        timer.start()
        assert [message.text for message in consumer.poll(timeout=30)] == ["late"]
        timer.join()
