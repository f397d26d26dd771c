"""What programs written for the original library do: names or lists, older keywords, one client."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from myqueue import Client, Consumer, MyConsumer, MyProducer, Producer
from myqueue.exceptions import (
    AlreadyRegistered,
    BrokerAlreadyPresent,
    QueueEmpty,
    TopicAlreadyExists,
    TopicDoesNotExist,
    UnauthorizedException,
)
from tests.myqueue.conformance.styles import Style

MakeTopic = Callable[..., str]
LINES = [f"12:00:{second:02} INFO request {second} served" for second in range(20)]


def test_topics_are_made_from_a_list(address: str) -> None:
    client = Client(manager=address)
    answers = client.create_topic(["script-a", "script-b"], 2)
    assert [answer["topic"] for answer in answers] == ["script-a", "script-b"]
    assert {"script-a", "script-b"} <= set(client.list_topics())
    with pytest.raises(TopicAlreadyExists) as caught:
        client.create_topic(["script-c", "script-b", "script-d"])
    assert caught.value.details["done"] == ["script-c"]
    assert "script-d" not in client.list_topics()
    for topic in ("script-a", "script-b", "script-c"):
        client.delete_topic(topic)
    client.close()


def test_a_broker_that_is_there_is_told_so(address: str) -> None:
    client = Client(broker=address)
    brokers = client.list_brokers()
    for given in (brokers[0], [brokers[0]]):
        with pytest.raises(BrokerAlreadyPresent):
            client.add_broker(given)
    assert client.list_brokers() == brokers
    client.close()


@pytest.mark.parametrize("keyword", ["manager", "broker", "address"])
def test_a_producer_and_a_consumer_do_it_all(
    address: str, make_topic: MakeTopic, keyword: str
) -> None:
    first, second = make_topic(), make_topic()
    producer = Producer(topics=[first], **{keyword: address})  # type: ignore[arg-type]
    consumer = Consumer(topics=[first], **{keyword: address})  # type: ignore[arg-type]
    third = f"made-by-hand-{keyword}"
    producer.create_topic(third, 1)
    assert third in consumer.list_topics()
    assert consumer.list_brokers() == producer.list_brokers()
    with pytest.raises(BrokerAlreadyPresent):
        consumer.add_broker(consumer.list_brokers()[0])
    with pytest.raises(TopicAlreadyExists):
        consumer.create_topic(third)
    assert [one.client_id > 0 for one in producer.register([second, third])] == [True, True]
    assert len(consumer.register([second, third])) == 2
    for line in LINES[:3]:
        producer.enqueue([first, second, third], line)
    assert consumer.get_size([first, second, third]) == [3, 3, 3]
    for line in LINES[:3]:
        assert consumer.can_dequeue([first, third]) == [True, True]
        assert consumer.dequeue([first, second, third]) == [line] * 3
    with pytest.raises(QueueEmpty):
        consumer.dequeue(first)
    producer.delete_topic(third)
    producer.stop()
    consumer.stop()


def test_registering_twice_is_refused_and_registers_nothing(
    address: str, make_topic: MakeTopic
) -> None:
    first, second = make_topic(), make_topic()
    for made in (Producer([first], address), Consumer([first], address)):
        for again in (first, [second, first]):
            with pytest.raises(AlreadyRegistered):
                made.register(again)
        assert made.topics == (first,)
        made.close()
    consumer = Consumer([first], address)
    with pytest.raises(TopicDoesNotExist):
        consumer.register("nobody-made-this")
    with pytest.raises(UnauthorizedException):
        consumer.dequeue(second)
    with pytest.raises(UnauthorizedException):
        consumer.get_size("nobody-made-this")
    consumer.close()


def test_threads_of_producers_and_consumers_see_every_line(
    address: str, make_topic: MakeTopic
) -> None:
    topics = [make_topic(2), make_topic(2)]
    clients: list[MyProducer | MyConsumer] = []

    def produce() -> None:
        producer = MyProducer(topics=topics, broker=address)
        clients.append(producer)
        for number, line in enumerate(LINES):
            if producer.can_send():
                producer.send(topics[number % 2], line)

    threads = [threading.Thread(target=produce) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    consumer = MyConsumer(topics=topics, manager=address)
    clients.append(consumer)
    found = []
    for message in consumer.get_next():
        assert message == message.value
        assert f"{message}" == f"{message.value!s}"
        found.append((message.topic, str(message)))
        if len(found) == 2 * len(LINES):
            consumer.stop()
    expected = [(topics[number % 2], line) for number, line in enumerate(LINES)]
    assert sorted(found) == sorted(2 * expected)
    for made in clients:
        made.stop()


def test_what_came_next_can_be_sent_on(address: str, make_topic: MakeTopic) -> None:
    first, second = make_topic(), make_topic()
    producer = MyProducer([first, second], address)
    producer.send(first, "text")
    producer.send(first, b"\xff")
    consumer = MyConsumer(first, address)
    for number, message in enumerate(consumer.get_next()):
        assert (message.topic, message.partition, message.offset) == (first, 0, number)
        producer.send(second, message)
        if number == 1:
            consumer.stop()
    producer.stop()
    with Consumer(second, address) as reader:
        values = [message.value for message in reader.poll(10, 5.0)]
    assert values == ["text", b"\xff"]
    assert [type(value) for value in values] == [str, bytes]


async def test_both_styles_make_topics(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    made = f"{topic}-{style.is_async}"
    async with await style.producer(topic) as producer, await style.consumer(topic) as consumer:
        assert (await producer.create_topic(made, 2))["topic"] == made
        assert made in await consumer.list_topics()
        assert await consumer.list_brokers() == await producer.list_brokers()
        with pytest.raises(TopicAlreadyExists):
            await consumer.create_topic([made])
        assert len((await producer.describe_topic(made))["partitions"]) == 2
        assert len(await producer.register([made])) == 1
        await producer.delete_topic(made)
