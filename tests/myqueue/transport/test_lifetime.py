from __future__ import annotations

import pytest

from myqueue.contract.errors import ClientClosed, ManagerNotFound
from myqueue.producer.producer import Producer
from myqueue.testing.queue import InMemoryQueue
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


def test_the_other_clients_own_their_connections() -> None:
    with InMemoryQueue({"logs": 1}) as queue, Producer("logs", queue.address) as producer:
        producer.administration().close()
        assert producer.enqueue("logs", "x") == (0, 0)


def test_an_error_under_way_is_not_replaced_by_what_closing_raises(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = world.producer("a")

    def close() -> None:
        raise ManagerNotFound("gone")

    monkeypatch.setattr(producer, "close", close)
    with pytest.raises(ZeroDivisionError) as caught, producer:
        raise ZeroDivisionError
    assert caught.value.__notes__ == ["gone"]
    with pytest.raises(ManagerNotFound), producer:
        pass
