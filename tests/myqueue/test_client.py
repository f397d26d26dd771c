from __future__ import annotations

import pytest

from myqueue.contract.errors import (
    InvalidRequest,
    ManagerNotFound,
    TopicAlreadyExists,
    TopicDoesNotExist,
)
from tests.myqueue.conftest import World


def test_topics_come_and_go(world: World) -> None:
    with world.client() as client:
        assert client.create_topic("logs", 4).number_of_partitions == 4
        client.create_topic("more", number_of_partitions=1, replication_factor=1)
        assert client.list_topics() == ["logs", "more"]
        assert len(client.describe_topic("logs")["partitions"]) == 4
        client.delete_topic("logs")
        assert client.list_topics() == ["more"]
        with pytest.raises(TopicDoesNotExist):
            client.delete_topic("logs")
    assert world.transport.closed


def test_a_topic_exists_once(world: World) -> None:
    client = world.client()
    client.create_topic("logs")
    with pytest.raises(TopicAlreadyExists) as caught:
        client.create_topic("logs")
    assert caught.value.outcome_known


def test_wrong_values_are_the_managers_to_refuse(world: World) -> None:
    with pytest.raises(InvalidRequest):
        world.client().create_topic("logs", "three")  # type: ignore[arg-type]


def test_no_manager(world: World) -> None:
    world.twin.down.add(world.twin.manager)
    with pytest.raises(ManagerNotFound):
        world.client().list_topics()
