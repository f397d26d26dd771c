from __future__ import annotations

import pytest

from myqueue.client import Client
from myqueue.contract.errors import ClientClosed
from myqueue.producer.producer import Producer
from myqueue.testing.queue import InMemoryQueue
from myqueue.transport.administration import Administration
from tests.myqueue.conftest import World


def test_closing_twice_is_closing_once(world: World) -> None:
    with world.producer("a") as producer:
        assert world.beats.clients == [producer]
        producer.close()
        assert world.beats.clients == []
    with pytest.raises(ClientClosed):
        producer.register("b")


def test_the_child_of_a_fork_beats_again_with_its_first_call(world: World) -> None:
    producer = world.producer("a")
    world.beats.clients.clear()
    producer.restart_after_fork()
    assert world.beats.clients == []
    producer.reattach("a")
    producer.reattach("a")
    assert world.beats.clients == [producer]


def test_a_producer_does_what_an_administrator_does_until_it_is_closed(world: World) -> None:
    with world.producer("a") as producer:
        producer.create_topic(["b", "c"], 2)
        assert producer.list_topics() == ["a", "b", "c"]
        assert producer.describe_brokers() == world.client().describe_brokers()
        assert producer.list_clients("producers", "a")[0]["topic"] == "a"
    with pytest.raises(ClientClosed):
        producer.list_topics()


def test_no_call_about_topics_and_groups_is_missing(world: World) -> None:
    shared = {name for name in vars(Administration) if not name.startswith("_")}
    assert shared - {"close", "restart_after_fork"} <= set(dir(world.producer("a")))
    assert set(dir(Client)) - set(dir(Administration)) == {"redrive", "redriving"}


def test_the_calls_of_an_administrator_are_told_apart_in_help(world: World) -> None:
    producer = world.producer("a")
    assert producer.create_topic.__doc__ == Client.create_topic.__doc__
    assert producer.administration() is producer.administration()


def test_the_other_clients_own_their_connections() -> None:
    with InMemoryQueue({"logs": 1}) as queue, Producer("logs", queue.address) as producer:
        producer.administration().close()
        assert producer.enqueue("logs", "x") == (0, 0)
