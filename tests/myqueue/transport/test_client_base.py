from __future__ import annotations

import pytest

from myqueue.client import Client
from myqueue.contract.errors import ClientClosed
from myqueue.transport.administration import Administration
from myqueue.transport.operations import Operations
from tests.myqueue.conftest import World


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
    assert set(dir(Client)) - set(dir(Operations)) == {"redrive", "redriving"}


def test_the_calls_of_an_administrator_are_told_apart_in_help(world: World) -> None:
    producer = world.producer("a")
    assert producer.create_topic.__doc__ == Client.create_topic.__doc__
    assert producer.administration() is producer.administration()
