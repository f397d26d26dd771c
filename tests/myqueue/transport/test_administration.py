from __future__ import annotations

import pytest

from myqueue.contract.errors import BrokerAlreadyPresent, ManagerNotFound, TopicAlreadyExists
from tests.myqueue.conftest import World


def test_a_lost_creation_may_be_ones_own(world: World) -> None:
    world.twin.fail("/topics", applied=True)
    with pytest.raises(TopicAlreadyExists) as caught:
        world.client().create_topic("logs")
    assert not caught.value.outcome_known
    world.twin.fail("/topics")
    world.client().create_topic("more")
    assert list(world.twin.topics) == ["logs", "more"]


def test_brokers_are_listed_and_added(world: World) -> None:
    client = world.client()
    client.add_broker("http://new:1")
    assert client.list_brokers()[-1] == "http://new:1"
    assert client.describe_brokers()[-1]["state"] == "alive"
    with pytest.raises(BrokerAlreadyPresent):
        client.add_broker("http://new:1")


def test_what_a_list_came_to_before_it_failed_is_told(world: World) -> None:
    client = world.client()
    with pytest.raises(BrokerAlreadyPresent) as caught:
        client.add_broker(["http://new:1", "http://new:1"])
    assert caught.value.details["done"] == ["http://new:1"]
    assert client.create_topic([]) == []


def test_a_shift_of_a_group_is_not_repeated_when_its_answer_is_lost(world: World) -> None:
    world.twin.create("logs")
    world.twin.topics["logs"][0].group_offsets["g"] = (0, 0)
    path, client = "/groups/g/offsets", world.client()
    world.twin.fail(path, applied=True)
    with pytest.raises(ManagerNotFound) as caught:
        client.reset_group("g", "logs", shift=1)
    assert not caught.value.outcome_known
    assert len(world.twin.asked(path)) == 1
    world.twin.fail(path, applied=True)
    client.reset_group("g", "logs", to="latest")
    world.twin.fail(path)
    client.reset_group("g", "logs", shift=1, dry_run=True)
    assert len(world.twin.asked(path)) == 5
