from __future__ import annotations

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import (
    AlreadyRegistered,
    ClientClosed,
    ManagerNotFound,
    UnauthorizedException,
)
from myqueue.results import Registration
from tests.myqueue.conftest import World

HEALTH = "/health"


def test_topics_are_registered_at_once(world: World) -> None:
    producer = world.producer(["a", "b", "a"])
    assert producer.topics == ("a", "b")
    assert producer.registrations == {
        "a": Registration(1, "token-1"),
        "b": Registration(2, "token-2"),
    }
    assert list(world.twin.topics) == ["a", "b"]


def test_a_second_registration_is_refused(world: World) -> None:
    producer = world.producer("a")
    with pytest.raises(AlreadyRegistered):
        producer.register("a")
    producer.register("b")
    assert producer.enqueue("b", "x").offset == 0


def test_without_manager_there_is_no_client(world: World) -> None:
    world.twin.down.add(world.twin.manager)
    with pytest.raises(ManagerNotFound):
        world.producer()
    assert world.transport.closed
    assert world.beats.clients == []


def test_heartbeats_name_type_and_id(world: World) -> None:
    producer = world.producer(["a", "b"])
    consumer = world.consumer("a")
    producer.beat()
    consumer.beat()
    assert world.twin.beats == [(1, 1), (1, 2), (0, 3)]
    assert producer.next_beat_s() == world.clock.now_s + 15


def test_an_unknown_or_expired_client_reattaches_with_its_heartbeat(world: World) -> None:
    producer = world.producer("a")
    world.twin.expired.add(1)
    producer.beat()
    assert world.twin.expired == set()
    assert producer.registration("a").client_id == 1


def test_a_heartbeat_fails_quietly(world: World) -> None:
    producer = world.producer("a")
    world.twin.clients.clear()
    producer.beat()
    world.twin.down.add(world.twin.manager)
    producer.beat()
    assert producer.registration("a").client_id == 1


def test_an_old_token_is_renewed(world: World) -> None:
    config = ClientConfig(token_max_age_ms=60_000)
    producer = world.producer("a", config=config)
    world.twin.amended["/health"] = lambda body: {**body, "token": f"at {world.clock.now_s}"}
    first = producer.registration("a").token
    producer.beat()
    assert producer.registration("a").token == first
    world.clock.sleep(61)
    renewed = f"at {world.clock.now_s}"
    producer.beat()
    world.clock.sleep(15)
    producer.beat()
    assert producer.registration("a") == Registration(1, renewed)
    assert len(world.twin.asked("/producer/register")) == 1


def test_heartbeats_of_equal_numbers_do_not_disturb_each_other(world: World) -> None:
    world.twin.create("a", 1)
    consumer, producer = world.consumer("a"), world.producer("a")
    assert (consumer.registration("a").client_id, producer.registration("a").client_id) == (1, 2)
    for _ in range(12):
        world.clock.sleep(15)
        consumer.beat()
        producer.beat()
    assert world.twin.beats == [(0, 1), (1, 2)] * 12


def test_a_forgotten_client_is_closed(world: World) -> None:
    producer = world.producer("a")
    world.twin.fail("/producers/1", applied=True)
    producer.forget()
    assert world.twin.clients == {}
    with pytest.raises(ClientClosed):
        producer.register("b")


def test_attaching_with_a_wrong_token_is_refused(world: World) -> None:
    world.twin.create("a", 1)
    world.consumer("a")
    with pytest.raises(UnauthorizedException):
        world.consumer("a", attach={"a": Registration(1, "wrong")})


def test_a_stopped_client_beats_no_more(world: World) -> None:
    producer = world.producer("a")
    producer.stop()
    producer.beat()
    assert world.twin.beats == []


# Forks


def test_the_child_of_a_fork_sends_under_its_own_id(world: World) -> None:
    world.twin.create("a", 1)
    producer = world.producer("a")
    producer.enqueue("a", "parent")
    world.beats.clients.clear()
    producer.restart_after_fork()
    producer.enqueue("a", "child")
    assert producer.registration("a").client_id == 2
    assert world.beats.clients == [producer]
    assert world.twin.messages("a") == ["parent", "child"]


def test_the_child_of_a_fork_shares_the_cursor(world: World) -> None:
    world.twin.create("a", 1)[0].put("1", "2", "3")
    consumer = world.consumer("a")
    assert consumer.dequeue("a") == "1"
    consumer.restart_after_fork()
    assert consumer.dequeue("a") == "2"
    assert consumer.registration("a").client_id == 1
